// What is counted: the catalogue (one row a metric), per-thread shards of plain integers, and the
// exporter that sums them at scrape.
//
// A loop thread increments its own Shard without locks or read-modify-write atomics; a scrape reads
// all shards. Threads without a shard of their own (auth, probes) use a SharedShard. Values that are
// set rather than counted (up, timestamps, totals kept elsewhere) go through Levels.
//
//   Layout layout({.listeners = {"mx"}, .rules = chain.rule_names(), ...});  // once per process
//   Shard shard(layout);                                                     // one per thread
//   Levels levels(layout);                                                   // one per process
//   Exporter exporter(layout, levels);
//   exporter.attach(shard);
//
//   shard.add<Metric::replies>(listener, ReplyVerb::mail, code_index(250));
//   shard.add<Metric::client_bytes>(listener, Direction::in, octets);        // amount comes last
//   shard.up<Metric::connections_active>(listener);
//   shard.observe<Metric::session_duration>(listener, seconds);
//   levels.set<Metric::config_last_reload_successful>(1);
//   exporter.text();                                                         // what a scrape gets
//
// Labels are small integers: enums of labels.h for fixed lists, Layout::index_of() for names from
// the configuration. To add a metric: one row in catalogue.inc (and its row in docs/metrics.md, which
// a test asks for).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "metrics/labels.h"

namespace portcullis::metrics {

// How a metric gets its value. Prometheus sees counters (counter, total), gauges (gauge, level) and
// histograms.
enum class Type : std::uint8_t {
  counter,    // shard.add
  gauge,      // shard.up / shard.down, summed over the shards
  histogram,  // shard.observe
  level,      // levels.set: a gauge with one value for the process; absent until set
  total,      // levels.set: a counter whose sum is kept elsewhere; absent until set
};

// Upper bounds of histogram buckets; +Inf is implied.
enum class Buckets : std::uint8_t { none, latency, latency_long, session, size, recipients, attachments };
constexpr std::span<const double> bounds_of(Buckets buckets);

enum class Metric : std::uint16_t {
#define PORTCULLIS_METRIC(id, type, name, help, buckets, ...) id,
#include "metrics/catalogue.inc"
#undef PORTCULLIS_METRIC
  count_
};
inline constexpr std::size_t metric_count = static_cast<std::size_t>(Metric::count_);

struct Row {
  Type type = Type::counter;
  std::string_view name;
  std::string_view help;
  Buckets buckets = Buckets::none;
  std::array<Dim, 4> dims{};

  constexpr std::size_t dim_count() const {
    std::size_t count = 0;
    while (count < dims.size() && dims[count] != Dim::none) ++count;
    return count;
  }
  // Only the first label may come from the configuration, so that strides are compile-time constants.
  constexpr bool configured() const { return is_configured(dims[0]); }
  // Series of one value of the configured label (of the whole metric where there is none).
  constexpr std::size_t series_per_value() const {
    std::size_t series = 1;
    for (const Dim dim : dims)
      if (dim != Dim::none && !is_configured(dim)) series *= values_of(dim).size();
    return series;
  }
  // Counters and gauges: one. Histograms: a count per bucket (+Inf included), then the sum.
  constexpr std::size_t cells_per_series() const {
    return type == Type::histogram ? bounds_of(buckets).size() + 2 : 1;
  }
  constexpr bool in_levels() const { return type == Type::level || type == Type::total; }
  // Most combinations can not happen: such series are shown once they were announced (with 0,
  // Layout::announce) or counted. All others are shown from the start.
  constexpr bool sparse() const {
    for (const Dim dim : dims)
      if (dim == Dim::reply_code || dim == Dim::http_code || dim == Dim::rule || dim == Dim::limit)
        return true;
    return false;
  }
};

namespace detail {

inline constexpr std::array<double, 0> no_bounds{};
inline constexpr std::array latency_bounds = {.001, .0025, .005, .01, .025, .05, .1,
                                              .25,  .5,    1.,   2.5, 5.,   10.};
inline constexpr std::array latency_long_bounds = {.001, .0025, .005, .01, .025, .05, .1,  .25,
                                                   .5,   1.,    2.5,  5.,  10.,  30., 120.};
inline constexpr std::array session_bounds = {.1, .5, 1., 2.5, 5., 10., 30., 60., 300., 900., 3600.};
inline constexpr std::array size_bounds = {1024.,    4096.,    16384.,    65536.,   262144.,
                                           1048576., 4194304., 16777216., 67108864.};
inline constexpr std::array recipients_bounds = {1., 2., 5., 10., 20., 50., 100., 500., 1000.};
inline constexpr std::array attachments_bounds = {0., 1., 2., 5., 10., 20., 50., 100.};

}  // namespace detail

constexpr std::span<const double> bounds_of(Buckets buckets) {
  switch (buckets) {
    case Buckets::none:
      return detail::no_bounds;
    case Buckets::latency:
      return detail::latency_bounds;
    case Buckets::latency_long:
      return detail::latency_long_bounds;
    case Buckets::session:
      return detail::session_bounds;
    case Buckets::size:
      return detail::size_bounds;
    case Buckets::recipients:
      return detail::recipients_bounds;
    case Buckets::attachments:
      return detail::attachments_bounds;
  }
  return detail::no_bounds;
}

inline constexpr std::array<Row, metric_count> catalogue = {{
#define PORTCULLIS_METRIC(id, type, name, help, buckets, ...) \
  {Type::type, name, help, Buckets::buckets, {__VA_ARGS__}},
#include "metrics/catalogue.inc"
#undef PORTCULLIS_METRIC
}};

constexpr const Row& row_of(Metric metric) { return catalogue[static_cast<std::size_t>(metric)]; }

namespace detail {

constexpr bool catalogue_is_sound() {
  for (const Row& row : catalogue) {
    for (std::size_t i = 1; i < row.dims.size(); ++i)
      if (is_configured(row.dims[i])) return false;
    if ((row.type == Type::histogram) != (row.buckets != Buckets::none)) return false;
  }
  return true;
}
static_assert(catalogue_is_sound());

}  // namespace detail

}  // namespace portcullis::metrics
