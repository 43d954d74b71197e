#include "tests/proxy/session/harness.h"

#include <stdexcept>

namespace portcullis::session::testing {

namespace {

metrics::JournalSettings quiet() {
  metrics::JournalSettings settings;
  settings.sink = metrics::JournalSettings::Sink::file;
  settings.path = "/dev/null";
  return settings;
}

metrics::LabelValues labels() {
  metrics::LabelValues values;
  values.listeners = {"test"};
  return values;
}

policy::Settings policy_of(const Setup& setup) {
  policy::Settings policy;
  policy.local_domains = setup.local_domains;
  if (setup.auth_without_tls || setup.trusted_peer) {
    policy::Network network;
    network.name = "lab";
    network.addresses = {*policy::parse_network("192.0.2.0/24")};
    network.may_auth_without_tls = setup.auth_without_tls;
    network.may_send_xclient = network.may_send_xforward = setup.trusted_peer;
    policy.networks.push_back(network);
  }
  const auto limit = [&](const char* name, policy::RateUnit unit, std::uint64_t amount) {
    if (amount == 0) return;
    policy::RateRule rate;
    rate.name = name;
    rate.key = policy::RateKey::client_ip;
    rate.unit = unit;
    rate.amount = amount;
    policy.rates.push_back(rate);
  };
  limit("messages-a-day", policy::RateUnit::messages, setup.messages_per_day);
  limit("recipients-a-day", policy::RateUnit::recipients, setup.recipients_per_day);
  return policy;
}

}  // namespace

Harness::Harness(const Setup& setup) : layout_(labels()), shard_(layout_), journal_(quiet()) {
  upstream_ehlo_ = setup.upstream_ehlo;
  reuse = setup.reuse;
  config_.hostname = "mx.example.com";
  certificate_login_ = setup.certificate_login;
  config_.policy = policy_of(setup);
  config::Upstream upstream;
  upstream.name = "legacy";
  upstream.servers = {{"up.example.com", 25}};
  upstream.client_identity = setup.identity;
  upstream.command_timeout_seconds = setup.upstream_command_seconds;
  upstream.chunking = true;  // where the dialog's server offers it
  config_.upstreams.push_back(upstream);
  config::Listener listener;
  listener.name = "test";
  listener.tls = setup.tls;
  listener.auth = setup.auth;
  listener.upstream = "legacy";
  listener.bare_lf = setup.bare_lf;
  listener.limits.message_octets = setup.message_octets;
  listener.limits.errors = setup.errors;
  listener.limits.commands_without_mail = setup.commands_without_mail;
  listener.limits.minimum_bytes_per_second = setup.minimum_bytes_per_second;
  config_.listeners.push_back(listener);
  reload([](config::Config&) {});
  environment_ = std::make_unique<Environment>(Environment{
      config_, in_force_, journal_, shard_, content_, staged_, framed_, nullptr, &pressure_, &in_force_});
  listener_ = std::make_unique<ListenerFacts>(
      ListenerFacts{config_.listeners[0], config_.upstreams[0], 0, 0, 0, true,
                    static_cast<std::uint8_t>(smtp::mech_plain | smtp::mech_login |
                                              (setup.certificate_login.empty() ? 0 : smtp::mech_external))});
  UpstreamLink probe(config_.upstreams[0], "mx.example.com", false, {});
  Output ignored;
  static_cast<void>(probe.connected());
  std::string_view greeting = "220 up\r\n";
  probe.feed(greeting, ignored);
  std::string_view ehlo = upstream_ehlo_;
  probe.sent();
  probe.feed(ehlo, ignored);
  session_ = std::make_unique<Session>(*environment_, *listener_, *policy::parse_ip("192.0.2.7"), 4711, "SID",
                                       UpstreamOffer{true, probe.extensions()}, now());
}

Harness::~Harness() = default;

Harness::Site::Site(config::Config c, policy::CounterStore& counters, metrics::Layout& layout,
                    const Accounts& accounts)
    : config(std::move(c)), chain(config.policy, counters), policies{config, chain, rule_labels, &accounts} {
  for (const std::string& rule : chain.rule_names()) {
    rule_labels.push_back({layout.index_of(metrics::Dim::rule, rule)});
  }
}

void Harness::reload(const std::function<void(config::Config&)>& change) {
  config::Config next = in_force_ ? in_force_->config : config_;
  change(next);
  const auto site = std::make_shared<const Site>(std::move(next), counters_, layout_, accounts_);
  in_force_ = std::shared_ptr<const Policies>(site, &site->policies);
}

void Harness::account_becomes(Accounts::State state, std::vector<std::string> addresses) {
  accounts_.state = state;
  accounts_.addresses = std::move(addresses);
  ++accounts_.changes;
}

Now Harness::now() const {
  return {clock_ms_, std::chrono::system_clock::time_point(std::chrono::hours(24 * 365 * 50))};
}

void Harness::start() {
  session_->start(now(), effects_);
  perform();
}

void Harness::client(std::string_view bytes) {
  if (session_->finished()) return;
  session_->client_bytes(bytes, now(), effects_);
  perform();
}

void Harness::client_eof() {
  session_->client_eof(now(), effects_);
  perform();
}

void Harness::client_lost() {
  session_->client_lost(now(), effects_);
  perform();
}

void Harness::tls_done() {
  tls_wanted_ = false;
  session_->tls_established({"TLSv1.3", "TLS_AES_128_GCM_SHA256", {}, certificate_login_}, now(), effects_);
  perform();
}

void Harness::auth_done(auth::Result result, std::string login) {
  asked_auth_ = false;
  auth_done(last_attempt, result, std::move(login));
}

void Harness::auth_done(std::uint32_t attempt, auth::Result result, std::string login,
                        std::uint32_t delay_ms) {
  auth::Outcome outcome;
  outcome.result = result;
  outcome.delay_ms = delay_ms;
  outcome.account.login = std::move(login);
  outcome.account.backend = "file";
  session_->auth_done(attempt, std::move(outcome), now(), effects_);
  perform();
}

void Harness::wake() {
  wake_wanted_ = false;
  session_->wake(now(), effects_);
  perform();
}

void Harness::timeout() {
  clock_ms_ = std::max(clock_ms_, session_->deadline_ms()) + 1;
  session_->timeout(now(), effects_);
  perform();
}

void Harness::drain() {
  session_->drain(now(), effects_);
  perform();
}

void Harness::yield() {
  session_->yield_upstream(now(), effects_);
  perform();
}

void Harness::end_use() {
  session_->end_upstream_use(now(), effects_);
  perform();
}

UpstreamLink* Harness::link_of(std::size_t wire) {
  if (link_ && link_wire_ == wire) return link_.get();
  return parked_ && parked_wire_ == wire ? parked_.get() : nullptr;
}

void Harness::upstream(std::string_view bytes) {
  const std::size_t wire = speaking();
  UpstreamLink* link = link_of(wire);
  if (link == nullptr) return;
  link->sent();
  for (;;) {
    Output out;
    const UpstreamLink::Step step = link->feed(bytes, out);
    sent(wire, out);
    if (step == UpstreamLink::Step::need_more) return;
    const bool ours = link == link_.get();
    if (step == UpstreamLink::Step::answer && ours) {
      session_->upstream_answer(link->answered(), link->answer(), now(), effects_);
      perform();
    } else if (step == UpstreamLink::Step::answer && link->outstanding() == 0) {
      parked_clean_ = link->answered() == Expect::rset && link->answer().code == 250;
      if (!parked_clean_ && reuse) parked_.reset();
    }
    link = link_of(wire);
    if (link == nullptr) return;
    if (link->failure() != LinkFailure::none) {
      if (link == link_.get()) return upstream_lost(link->failure());
      return parked_.reset();
    }
  }
}

void Harness::upstream_lost(LinkFailure failure) {
  if (link_) link_->fail(failure, "lost");
  const std::unique_ptr<UpstreamLink> gone = std::move(link_);
  acquire_pending_ = false;
  session_->upstream_lost(failure, "lost", now(), effects_);
  perform();
}

void Harness::upstream_silent(bool hung) {
  session_->upstream_silent(hung, now(), effects_);
  perform();
}

void Harness::sent(std::size_t wire, const Output& out) {
  const std::string bytes = out.joined();
  upstream_out += bytes;
  if (!bytes.empty()) wires.at(wire) += bytes;
}

void Harness::open_link() {
  if (reuse && parked_ && parked_clean_ && parked_->ready() && parked_->outstanding() == 0) {
    link_ = std::move(parked_);
    link_wire_ = parked_wire_;
    return;
  }
  link_wire_ = wires.size();
  wires.emplace_back();
  link_ = std::make_unique<UpstreamLink>(config_.upstreams[0], "mx.example.com", false, XClient());
  link_->set_name("legacy/up.example.com:25");
  Output ignored;
  static_cast<void>(link_->connected());
  std::string_view greeting = "220 up\r\n";
  link_->feed(greeting, ignored);
  std::string_view ehlo = upstream_ehlo_;
  link_->sent();
  if (link_->feed(ehlo, ignored) != UpstreamLink::Step::ready) throw std::logic_error("link is not ready");
}

void Harness::grant() {
  if (!acquire_pending_) return;
  acquire_pending_ = false;
  open_link();
  session_->upstream_ready(*link_, now(), effects_);
  perform();
}

// The driver lets others have their turn before each further one.
void Harness::perform() {
  perform_once();
  while (!hold_turns && session_->wants_turn()) take_turn();
}

void Harness::take_turn() {
  ++turns;
  session_->next_turn(now(), effects_);
  perform_once();
}

void Harness::perform_once() {
  for (;;) {
    client_out += effects_.client.joined();
    if (!effects_.upstream.empty()) sent(link_wire_, effects_.upstream);
    const Leave leave = effects_.leave_upstream;
    const bool acquire = effects_.acquire_upstream;
    if (effects_.authenticate) {
      asked_auth_ = true;
      last_login = effects_.authenticate->credentials.authcid;
      last_attempt = effects_.authenticate->attempt;
    }
    tls_wanted_ |= effects_.start_tls;
    wake_wanted_ |= effects_.wake_after_ms.has_value();
    effects_.clear();
    if (leave == Leave::cancel) acquire_pending_ = false;
    if (leave == Leave::release && link_) {
      ++released;
      parked_ = std::move(link_);
      parked_wire_ = link_wire_;
      parked_clean_ = parked_->outstanding() == 0;
    }
    if (leave == Leave::abort && link_) {
      ++aborted;
      link_.reset();
    }
    if (!acquire) return;
    // The driver would lose sight of the first one.
    if (link_) throw std::logic_error("a connection is asked for beside one that was not left");
    acquire_pending_ = true;
    if (hold_acquire) return;
    acquire_pending_ = false;
    if (acquire_fails) {
      session_->upstream_lost(LinkFailure::connect, "refused", now(), effects_);
    } else {
      open_link();
      session_->upstream_ready(*link_, now(), effects_);
    }
  }
}

}  // namespace portcullis::session::testing
