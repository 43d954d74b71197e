// One configuration in force: immutable once made, shared by all workers, swapped as a whole on reload.
// Live sessions keep the one they began with, but for its rules (net/in_force.h).
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "metrics/exporter.h"
#include "metrics/journal.h"
#include "metrics/levels.h"
#include "metrics/shard.h"
#include "policy/chain.h"
#include "policy/connections.h"
#include "proxy/auth/service.h"
#include "proxy/auth/workers.h"
#include "proxy/config/config.h"
#include "proxy/net/auth_health.h"
#include "proxy/net/listener_places.h"
#include "proxy/net/memory_guard.h"
#include "proxy/net/tls_context.h"
#include "proxy/net/trouble.h"
#include "proxy/net/upstream_health.h"
#include "proxy/session/environment.h"

namespace portcullis::net {

// All counters of the process; a reload adds names to the layout and loses no count.
struct Telemetry {
  Telemetry(const metrics::LabelValues& values, std::size_t workers);
  metrics::Layout layout;
  metrics::Levels levels;
  metrics::Exporter exporter;
  std::vector<std::unique_ptr<metrics::Shard>> workers;
  metrics::SharedShard shared;  // auth threads, probe, admin
};

// What outlives every configuration.
struct Lasting {
  std::shared_ptr<policy::CounterStore> counters;
  std::shared_ptr<policy::Lockout> lockout;
  std::shared_ptr<policy::ConnectionCounter> connections;
  std::shared_ptr<metrics::Journal> journal;
  std::shared_ptr<TicketKeys> ticket_keys;
  std::shared_ptr<Telemetry> telemetry;
  std::shared_ptr<MemoryGuard> memory = std::make_shared<MemoryGuard>();
  std::shared_ptr<AuthHealth> auth_health = std::make_shared<AuthHealth>();
  std::shared_ptr<ListenerPlaces> places = std::make_shared<ListenerPlaces>();
  std::shared_ptr<Trouble> trouble = std::make_shared<Trouble>();
  // The threads that ask the authentication backends of every snapshot.
  std::shared_ptr<auth::Workers> auth_workers = std::make_shared<auth::Workers>();
};

struct Snapshot {
  std::shared_ptr<const config::Config> config;
  Lasting lasting;
  std::unique_ptr<policy::Chain> chain;
  std::shared_ptr<auth::Service> auth;
  std::shared_ptr<ServerTls> server_tls;
  std::vector<std::shared_ptr<ClientTls>> client_tls;  // by upstream
  std::shared_ptr<UpstreamHealth> health;
  std::vector<session::ListenerFacts> listeners;
  // Labels in the metrics' layout.
  std::vector<session::RuleLabels> rule_labels;           // by policy::Hit::rule
  std::vector<std::uint16_t> upstream_labels;             // by upstream
  std::vector<std::vector<std::uint16_t>> server_labels;  // by upstream and server
};

// Everything a configuration needs that can fail: certificates, the user file, backends, threads to ask them.
// `before` is the snapshot it follows, if any. The error is a sentence. When the snapshot is taken,
// auth::use_workers() makes its number of threads the one in use.
std::expected<std::shared_ptr<const Snapshot>, std::string> make_snapshot(
    std::shared_ptr<const config::Config> config, const Lasting& lasting, const Snapshot* before);

// Names for the labels of a configuration.
metrics::LabelValues label_values(const config::Config& config, const std::vector<std::string>& rules);

}  // namespace portcullis::net
