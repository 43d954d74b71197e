#include "proxy/net/snapshot.h"

#include <algorithm>
#include <utility>

namespace portcullis::net {

Telemetry::Telemetry(const metrics::LabelValues& values, std::size_t worker_count)
    : layout(values), levels(layout), exporter(layout, levels), shared(layout) {
  for (std::size_t i = 0; i < worker_count; ++i) {
    workers.push_back(std::make_unique<metrics::Shard>(layout));
    exporter.attach(*workers.back());
  }
  exporter.attach(shared);
}

metrics::LabelValues label_values(const config::Config& config, const std::vector<std::string>& rules) {
  metrics::LabelValues values;
  for (const config::Listener& listener : config.listeners) values.listeners.push_back(listener.name);
  values.rules = rules;
  for (const policy::RateRule& rate : config.policy.rates) values.limits.push_back(rate.name);
  for (const config::Upstream& upstream : config.upstreams) {
    values.upstreams.push_back(upstream.name);
    for (const config::Server& server : upstream.servers) {
      values.servers.emplace_back(upstream.name, server.host + ':' + std::to_string(server.port));
    }
  }
  for (const config::Certificate& certificate : config.tls.certificates) {
    values.certificates.push_back(certificate.certificate);
  }
  for (std::uint32_t i = 0; i < std::max(1U, config.workers); ++i)
    values.loops.push_back("worker-" + std::to_string(i));
  values.loops.emplace_back("main");
  return values;
}

namespace {

metrics::BackendResult backend_result(auth::Result result) {
  using metrics::BackendResult;
  switch (result) {
    case auth::Result::success:
      return BackendResult::success;
    case auth::Result::bad_credentials:
      return BackendResult::bad_credentials;
    case auth::Result::disabled:
      return BackendResult::disabled;
    case auth::Result::password_expired:
      return BackendResult::password_expired;
    case auth::Result::unsupported:
      return BackendResult::unsupported;
    case auth::Result::backend_error:
    case auth::Result::blocked:  // by the gateway: no backend was asked
      break;
  }
  return BackendResult::backend_error;
}

auth::Observer observer_for(const Lasting& lasting) {
  const std::shared_ptr<Telemetry>& telemetry = lasting.telemetry;
  auth::Observer observer;
  observer.backend_called = [telemetry](const auth::BackendEvent& event) {
    const auto backend = metrics::Backend{static_cast<std::uint8_t>(event.backend)};
    telemetry->shared.add<metrics::Metric::auth_backend_requests>(backend, backend_result(event.result));
    telemetry->shared.observe<metrics::Metric::auth_backend_duration>(backend, event.duration.count());
  };
  observer.cache_looked_up = [telemetry](bool hit) {
    telemetry->shared.add<metrics::Metric::auth_cache_lookups>(hit ? metrics::CacheResult::hit
                                                                   : metrics::CacheResult::miss);
  };
  observer.backend_state = [telemetry, journal = lasting.journal, health = lasting.auth_health](
                               auth::BackendKind backend, bool up) {
    tell(*journal, telemetry->levels, backend, health->breaker(backend, up));
  };
  observer.backend_not_asked = [telemetry](auth::BackendKind backend, auth::NotAsked why) {
    telemetry->shared.add<metrics::Metric::auth_not_asked>(
        metrics::Backend{static_cast<std::uint8_t>(backend)},
        metrics::NotAsked{static_cast<std::uint8_t>(why)});
  };
  observer.backend_trouble = [telemetry, journal = lasting.journal](auth::BackendKind backend,
                                                                    const std::string& text) {
    telemetry->shared.add<metrics::Metric::auth_backend_trouble>(
        metrics::Backend{static_cast<std::uint8_t>(backend)});
    journal->write(metrics::EventRecord{
        std::chrono::system_clock::now(),
        metrics::EventRecord::Level::error,
        "auth_backend_trouble",
        {},
        {{"backend", std::string(metrics::backend_values[static_cast<std::size_t>(backend)])},
         {"detail", text}},
        "the backend's own data has a fault"});
  };
  return observer;
}

std::uint8_t mechanism_bits(const config::Listener& listener, std::uint8_t available) {
  if (listener.mechanisms.empty()) return available;
  std::uint8_t bits = 0;
  for (const std::string& name : listener.mechanisms) {
    const auto mechanism = smtp::mechanism_by_name(name);
    if (mechanism) bits |= static_cast<std::uint8_t>(1U << static_cast<unsigned>(*mechanism));
  }
  return bits & available;
}

void make_listeners(Snapshot& snapshot) {
  const config::Config& config = *snapshot.config;
  metrics::Layout& layout = snapshot.lasting.telemetry->layout;
  const std::uint8_t available = snapshot.auth->mechanisms();
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const config::Listener& listener = config.listeners[i];
    const auto upstream =
        std::find_if(config.upstreams.begin(), config.upstreams.end(),
                     [&](const config::Upstream& u) { return u.name == listener.upstream; });
    std::uint8_t mechanisms = available;
    if (listener.client_certificate != config::ClientCertificate::off) mechanisms |= smtp::mech_external;
    snapshot.listeners.push_back({listener, *upstream, static_cast<std::uint16_t>(i),
                                  layout.index_of(metrics::Dim::listener, listener.name),
                                  static_cast<std::uint16_t>(upstream - config.upstreams.begin()),
                                  !snapshot.server_tls->certificates().empty(),
                                  mechanism_bits(listener, mechanisms)});
  }
}

session::RuleLabels rule_labels(const std::string& name, const Snapshot& snapshot) {
  metrics::Layout& layout = snapshot.lasting.telemetry->layout;
  session::RuleLabels labels;
  labels.rule = layout.index_of(metrics::Dim::rule, name);
  for (const policy::RateRule& rate : snapshot.config->policy.rates) {
    if (rate.name != name) continue;
    labels.is_rate = true;
    labels.limit = layout.index_of(metrics::Dim::limit, name);
    labels.unit = rate.unit;
    for (const metrics::Mode mode : {metrics::Mode::enforce, metrics::Mode::shadow}) {
      layout.announce<metrics::Metric::rate_limit_exceeded>(labels.limit, rate.unit, mode);
    }
  }
  return labels;
}

void make_labels(Snapshot& snapshot) {
  metrics::Layout& layout = snapshot.lasting.telemetry->layout;
  metrics::Levels& levels = snapshot.lasting.telemetry->levels;
  for (const std::string& name : snapshot.chain->rule_names())
    snapshot.rule_labels.push_back(rule_labels(name, snapshot));
  levels.unset_all(metrics::Metric::upstream_up);
  levels.unset_all(metrics::Metric::upstream_capability);
  for (const auth::BackendKind backend : snapshot.config->auth.backends) {
    levels.set<metrics::Metric::auth_backend_up>(metrics::Backend{static_cast<std::uint8_t>(backend)},
                                                 snapshot.lasting.auth_health->up(backend) ? 1 : 0);
  }
  for (const config::Upstream& upstream : snapshot.config->upstreams) {
    snapshot.upstream_labels.push_back(layout.index_of(metrics::Dim::upstream, upstream.name));
    std::vector<std::uint16_t>& servers = snapshot.server_labels.emplace_back();
    for (const config::Server& server : upstream.servers) {
      servers.push_back(
          layout.index_of_server(upstream.name, server.host + ':' + std::to_string(server.port)));
    }
  }
  levels.unset_all(metrics::Metric::tls_certificate_not_after);
  for (const CertificateFacts& facts : snapshot.server_tls->certificates()) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(facts.not_after.time_since_epoch());
    levels.set<metrics::Metric::tls_certificate_not_after>(
        layout.index_of(metrics::Dim::certificate, facts.file), static_cast<double>(seconds.count()));
  }
}

bool same_upstreams(const Snapshot& a, const config::Config& b) {
  const auto key = [](const config::Config& config) {
    std::string text;
    for (const config::Upstream& upstream : config.upstreams) {
      text += upstream.name + ';';
      for (const config::Server& server : upstream.servers)
        text += server.host + ':' + std::to_string(server.port) + ',';
    }
    return text;
  };
  return key(*a.config) == key(b);
}

}  // namespace

std::expected<std::shared_ptr<const Snapshot>, std::string> make_snapshot(
    std::shared_ptr<const config::Config> config, const Lasting& lasting, const Snapshot* before) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->config = std::move(config);
  snapshot->lasting = lasting;
  const config::Tls& tls = snapshot->config->tls;
  auto server_tls = ServerTls::make(tls, tls.ticket_key_hours > 0 ? lasting.ticket_keys : nullptr);
  if (!server_tls) return std::unexpected(server_tls.error());
  snapshot->server_tls = std::move(*server_tls);
  for (const config::Upstream& upstream : snapshot->config->upstreams) {
    auto client_tls = ClientTls::make(upstream);
    if (!client_tls) return std::unexpected("upstream \"" + upstream.name + "\": " + client_tls.error());
    snapshot->client_tls.push_back(std::move(*client_tls));
  }
  snapshot->chain = std::make_unique<policy::Chain>(snapshot->config->policy, *lasting.counters);
  if (before != nullptr && before->auth->serves(snapshot->config->auth)) {
    // Cached logins and connections stay; what was edited is in effect when the reload is.
    snapshot->auth = before->auth;
    snapshot->auth->look();
  } else {
    const auto threads = auth::reserve_workers(*lasting.auth_workers, snapshot->config->auth);
    if (!threads) return std::unexpected(threads.error());
    snapshot->auth = std::make_shared<auth::Service>(snapshot->config->auth, lasting.lockout,
                                                     observer_for(lasting), lasting.auth_workers,
                                                     before != nullptr ? before->auth.get() : nullptr);
  }
  snapshot->health = before != nullptr && same_upstreams(*before, *snapshot->config)
                         ? before->health
                         : std::make_shared<UpstreamHealth>(snapshot->config->upstreams);
  make_labels(*snapshot);
  make_listeners(*snapshot);
  return snapshot;
}

}  // namespace portcullis::net
