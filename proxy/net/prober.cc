#include "proxy/net/prober.h"

#include <algorithm>
#include <utility>

namespace portcullis::net {

namespace {

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
  const auto now = static_cast<std::int64_t>(uv_now(context_.loop));
  for (Probe& probe : probes_) {
    if (probe.connection && probe.connection->late()) {
      probe.connection->out_of_time();
    } else if (!probe.connection && probe.due_ms <= now) {
      start(probe);
    }
  }
}

void Prober::start(Probe& probe) {
  const config::Upstream& settings = snapshot_->config->upstreams[probe.upstream];
  UpstreamConnection::Target target;
  target.settings = &settings;
  target.server = probe.server;
  target.tls = snapshot_->client_tls[probe.upstream].get();
  target.use_tls = !probe.clear_text;
  target.helo = settings.helo.empty() ? snapshot_->config->hostname : settings.helo;
  const auto now = static_cast<std::int64_t>(uv_now(context_.loop));
  probe.due_ms = now + std::int64_t{settings.probe_seconds} * 1000;
  probe.connection = std::make_unique<UpstreamConnection>(context_, std::move(target), *this);
  probe.connection->deadline_ms = now + std::int64_t{settings.connect_timeout_seconds} * 1000;
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
  snapshot_->health->report(probe.upstream, probe.server, up, extensions, text);
  metrics::Levels& levels = snapshot_->lasting.telemetry->levels;
  levels.set<metrics::Metric::upstream_up>(label, up ? 1 : 0);
  if (up) set_capabilities(levels, label, extensions);
  snapshot_->lasting.telemetry->shared.add<metrics::Metric::upstream_health_checks>(
      label, up ? metrics::Outcome::success : metrics::Outcome::failure);
  if (before != up || first) changed_(upstream, upstream.servers[probe.server], up, text);
  dead_.push_back(std::move(probe.connection));
}

void Prober::on_opened(UpstreamConnection& connection) noexcept {
  Probe& probe = probe_of(connection);
  connection.close();
  report(probe, true, connection.link().tls() ? "ready, TLS" : "ready, no TLS");
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
