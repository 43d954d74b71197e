#include "proxy/net/prober.h"

#include <algorithm>
#include <utility>

#include "proxy/net/upstream_demands.h"

namespace portcullis::net {

namespace {

constexpr std::int64_t least_pause_ms = 1'000;      // between two probes of a server, whoever asks for one
constexpr std::int64_t suspect_pause_ms = 5'000;    // of a server that is passed over
constexpr std::int64_t suspect_silence_ms = 3'000;  // without a reply to its probe

void set_capabilities(metrics::Levels& levels, std::uint16_t server, const smtp::Extensions& extensions) {
  using metrics::Capability;
  const auto set = [&](Capability capability, bool offered) {
    levels.set<metrics::Metric::upstream_capability>(server, capability, offered ? 1 : 0);
  };
  set(Capability::pipelining, extensions.pipelining);
  set(Capability::eight_bit_mime, extensions.eight_bit_mime);
  set(Capability::smtputf8, extensions.smtputf8);
  set(Capability::chunking, extensions.chunking);
  set(Capability::dsn, extensions.dsn);
  set(Capability::enhanced_status_codes, extensions.enhanced_status_codes);
  set(Capability::starttls, extensions.starttls);
  set(Capability::size, extensions.size.has_value());
  set(Capability::auth, extensions.auth != 0);
  set(Capability::xforward, extensions.xforward != 0);
  set(Capability::xclient, extensions.xclient != 0);
}

}  // namespace

Prober::Prober(LoopContext& context, Changed changed) : context_(context), changed_(std::move(changed)) {}

Prober::~Prober() = default;

void Prober::use(std::shared_ptr<const Snapshot> snapshot) {
  for (Probe& probe : probes_) {
    if (probe.connection) probe.connection->abort();
  }
  probes_.clear();
  snapshot_ = std::move(snapshot);
  for (std::size_t i = 0; i < snapshot_->config->upstreams.size(); ++i) {
    for (std::size_t j = 0; j < snapshot_->config->upstreams[i].servers.size(); ++j) {
      Probe& probe = probes_.emplace_back();
      probe.upstream = i;
      probe.server = j;
    }
  }
  tick();
}

bool Prober::first_round_done() const {
  return std::all_of(probes_.begin(), probes_.end(), [](const Probe& p) { return p.asked; });
}

void Prober::tick() {
  dead_.clear();
  for (Probe& probe : probes_) look_at(probe);
}

void Prober::look_at(Probe& probe) {
  UpstreamHealth& health = *snapshot_->health;
  if (health.take_wish(probe.upstream, probe.server)) {
    probe.due_ms = std::min(probe.due_ms, probe.started_ms + least_pause_ms);
  }
  look_at_standing(probe, "replies are late or missing");
  if (!probe.connection && probe.due_ms <= now()) return start(probe);
  if (!probe.connection) return;
  if (probe.passed_over && probe.connection->silent_ms() >= suspect_silence_ms) {
    health.probe_is_silent(probe.upstream, probe.server);
  }
  if (probe.connection->due(now())) probe.connection->attend(now());
}

void Prober::look_at_standing(Probe& probe, const std::string& text) {
  const bool passed_over = snapshot_->health->view(probe.upstream, probe.server).passed_over;
  if (std::exchange(probe.passed_over, passed_over) == passed_over) return;
  const config::Upstream& upstream = snapshot_->config->upstreams[probe.upstream];
  changed_(upstream, upstream.servers[probe.server], passed_over ? Change::passed_over : Change::preferred,
           text);
}

void Prober::start(Probe& probe) {
  const config::Upstream& settings = snapshot_->config->upstreams[probe.upstream];
  UpstreamConnection::Target target;
  target.settings = &settings;
  target.server = probe.server;
  target.tls = snapshot_->client_tls[probe.upstream].get();
  target.use_tls = !probe.clear_text;
  target.helo = settings.helo.empty() ? snapshot_->config->hostname : settings.helo;
  const std::int64_t interval = std::int64_t{settings.probe_seconds} * 1000;
  probe.started_ms = now();
  probe.due_ms = now() + (probe.passed_over ? std::min(interval, suspect_pause_ms) : interval);
  probe.connection = std::make_unique<UpstreamConnection>(context_, std::move(target), *this);
  probe.connection->deadline_ms = now() + std::int64_t{settings.connect_timeout_seconds} * 1000;
  probe.connection->open();
}

Prober::Probe& Prober::probe_of(const UpstreamConnection& connection) {
  return *std::find_if(probes_.begin(), probes_.end(),
                       [&](const Probe& p) { return p.connection.get() == &connection; });
}

void Prober::report(Probe& probe, bool up, const std::string& text) {
  const config::Upstream& upstream = snapshot_->config->upstreams[probe.upstream];
  const std::uint16_t label = snapshot_->server_labels[probe.upstream][probe.server];
  const smtp::Extensions extensions = probe.connection->link().extensions();
  const bool before = snapshot_->health->up(probe.upstream, probe.server);
  const bool first = !std::exchange(probe.asked, true);
  const std::int64_t slowest_ms = probe.connection->slowest_ms();
  snapshot_->health->report(probe.upstream, probe.server, {up, slowest_ms, text}, extensions, now());
  metrics::Levels& levels = snapshot_->lasting.telemetry->levels;
  levels.set<metrics::Metric::upstream_up>(label, up ? 1 : 0);
  if (up) set_capabilities(levels, label, extensions);
  snapshot_->lasting.telemetry->shared.add<metrics::Metric::upstream_health_checks>(
      label, up ? metrics::Outcome::success : metrics::Outcome::failure);
  if (before != up || first) {
    changed_(upstream, upstream.servers[probe.server], up ? Change::up : Change::down, text);
  }
  look_at_standing(probe, "a reply to the probe took " + std::to_string(slowest_ms) + " ms");
  dead_.push_back(std::move(probe.connection));
}

void Prober::on_opened(UpstreamConnection& connection) noexcept {
  Probe& probe = probe_of(connection);
  connection.close();
  report(probe, true, ready_text(connection));
}

void Prober::on_handshake(const Handshake& handshake) noexcept {
  count(snapshot_->lasting.telemetry->shared, metrics::TlsSide::upstream, handshake);
}

void Prober::on_lost(UpstreamConnection& connection) noexcept {
  Probe& probe = probe_of(connection);
  const config::Upstream& settings = snapshot_->config->upstreams[probe.upstream];
  if (connection.tls_was_the_problem() && !probe.clear_text &&
      settings.tls == config::UpstreamTls::opportunistic) {
    // As sessions do: opportunistic TLS that fails goes on in the clear.
    probe.clear_text = true;
    probe.due_ms = 0;
    dead_.push_back(std::move(probe.connection));
    return;
  }
  probe.clear_text = false;
  report(
      probe, false,
      std::string(session::name_of(connection.link().failure())) + ": " + connection.link().failure_text());
}

}  // namespace portcullis::net
