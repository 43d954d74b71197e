// What is counted: the catalogue (one row a metric), per-worker shards of plain integers, and the
// exporter that sums them at scrape.
//
// A loop thread increments its own Shard without locks or read-modify-write atomics; a scrape reads
// all shards. Other threads (auth, probes) have shards of their own. Values that are set rather
// than counted (up, timestamps) go through `Gauges`.
//
//   Layout layout(LabelValues{...});              // once per process: all label combinations fixed
//   Shard shard(layout);                          // one per thread
//   shard.add(Metric::replies, {listener, verb, code_index(250)});
//   shard.observe(Metric::session_duration, {listener}, 1.5);
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis::metrics {

enum class Type : std::uint8_t { counter, gauge, histogram };

// Where the values of a label come from: fixed lists (catalogue.cc) or the configuration.
enum class Dim : std::uint8_t {
  none,
  // from the configuration
  listener, rule, limit, upstream, server, certificate, backend, milter, loop,
  // fixed
  direction, verb, code, code_class, violation, connection_reject_reason, session_close_reason,
  tls_side, tls_result, tls_version, tls_failure, reload_result, mechanism, auth_result,
  backend_result, cache_result, scope, stage, action, mode, spoof_check, rate_unit, store_op,
  message_result, recipient_result, phase, upstream_verb, connect_result, connection_state,
  failover_reason, capability, health_result, sink, route, http_code, proxy_version, proxy_result,
  buffer_kind, mail_auth_method, mail_auth_result, milter_result,
};

// One row a metric: names exactly as in docs/metrics.md.
enum class Metric : std::uint16_t {
#define PORTCULLIS_METRIC(id, type, name, help, buckets, ...) id,
#include "metrics/catalogue.inc"
#undef PORTCULLIS_METRIC
  count_
};

struct LabelValues {
  std::vector<std::string> listeners, rules, limits, upstreams, certificates, backends, loops;
  // (upstream index, server) pairs: metrics with both labels have one series per pair.
  std::vector<std::pair<std::uint16_t, std::string>> servers;
};

class Layout;  // metrics/layout.h: which cell belongs to which label combination
class Shard;   // metrics/shard.h
class Exporter;// metrics/exporter.h

}  // namespace portcullis::metrics
