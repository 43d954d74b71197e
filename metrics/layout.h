// Which cell belongs to which label combination, and the names the configuration gives to labels.
//
// Cells are laid out once per process with room for names to come: a reload may add listeners, rules
// and servers (index_of) without touching shards or losing counts. A name keeps its index for the
// life of the process. When a dimension's room is used up, further names share the index whose
// value is "other".
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metrics/metrics.h"

namespace portcullis::metrics {

struct LabelValues {
  std::vector<std::string> listeners, rules, limits, upstreams, certificates, loops;
  std::vector<std::pair<std::string, std::string>> servers;  // upstream, server
  std::string version = "unknown", revision = "unknown";
};

class Layout {
 public:
  // The names of `values` get the indices 0, 1, 2… in their order.
  explicit Layout(const LabelValues& values);
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;

  // The index of a name, made if new. Thread-safe; takes a lock: for start and reload, not for the
  // hot path. `dim` is one of listener, rule, limit, upstream, certificate, loop.
  std::uint16_t index_of(Dim dim, std::string_view name);
  std::uint16_t index_of_server(std::string_view upstream, std::string_view server);

  // Shows a series of a sparse metric (Row::sparse) with 0 from now on; labels as for Shard::add.
  // Replies that any listener can give are announced by the layout itself.
  template <Metric M, typename... Labels>
  void announce(Labels... labels);

  // For shards, levels and the exporter.
  std::uint32_t base(Metric metric) const { return bases_[static_cast<std::size_t>(metric)]; }
  const std::uint32_t* bases() const { return bases_.data(); }
  std::size_t shard_cells() const { return shard_cells_; }
  std::size_t level_cells() const { return level_cells_; }
  bool announced(std::uint32_t cell) const { return announced_[cell].load(std::memory_order_relaxed); }
  // Label values of a configured dimension: two strings each for server and build, else one.
  std::vector<std::vector<std::string>> names(Dim dim) const;

 private:
  std::uint16_t intern(Dim dim, std::vector<std::string> name);
  void announce_replies(std::uint16_t listener);

  std::array<std::uint32_t, metric_count> bases_{};
  std::size_t shard_cells_ = 0;
  std::size_t level_cells_ = 0;
  std::unique_ptr<std::atomic<bool>[]> announced_;
  mutable std::mutex mutex_;  // guards names_
  struct Names {
    std::vector<std::vector<std::string>> values;
    std::size_t room = 0;  // one more is kept for "other"
  };
  std::array<Names, configured_dim_count> names_;
};

namespace detail {

// A label argument as an index: an enum of labels.h must be of the right dimension; integers and
// enums of others (smtp::Verb) are taken by value.
template <Dim D, typename Label>
constexpr std::size_t label_index(Label label) {
  if constexpr (requires { dim_of(label); })
    static_assert(dim_of(Label{}) == D, "a label in the wrong place");
  return static_cast<std::size_t>(label);
}

// Offset of a series' first cell from its metric's base.
template <Metric M, std::size_t... I, typename... Labels>
constexpr std::size_t series_offset(std::index_sequence<I...>, Labels... labels) {
  constexpr const Row& row = row_of(M);
  static_assert(sizeof...(Labels) == row.dim_count(), "one argument for each label");
  if constexpr (sizeof...(Labels) == 0) {
    return 0;
  } else {
    std::size_t series = 0;
    ((series = series * (is_configured(row.dims[I]) ? 0 : values_of(row.dims[I]).size()) +
               label_index<row.dims[I]>(labels)),
     ...);
    return series * row.cells_per_series();
  }
}

template <Metric M, typename... Labels>
constexpr std::size_t series_offset(Labels... labels) {
  return series_offset<M>(std::index_sequence_for<Labels...>{}, labels...);
}

}  // namespace detail

template <Metric M, typename... Labels>
void Layout::announce(Labels... labels) {
  static_assert(row_of(M).sparse() && !row_of(M).in_levels());
  announced_[base(M) + detail::series_offset<M>(labels...)].store(true, std::memory_order_relaxed);
}

}  // namespace portcullis::metrics
