// Values that are set, not counted: Type::level and Type::total. One per process, any thread. A
// series exists from its first set to its unset: what is not known is absent, not 0.
//
//   levels.set<Metric::upstream_up>(server, 1);
//   levels.unset_all(Metric::upstream_up);        // before a reload names the servers anew
#pragma once

#include <atomic>
#include <bit>
#include <cassert>
#include <cstdint>
#include <memory>
#include <optional>
#include <tuple>

#include "metrics/layout.h"

namespace portcullis::metrics {

class Levels {
 public:
  explicit Levels(const Layout& layout)
      : layout_(layout), cells_(new std::atomic<std::uint64_t>[layout.level_cells()]) {
    for (std::size_t i = 0; i < layout.level_cells(); ++i) cells_[i].store(absent, std::memory_order_relaxed);
  }
  Levels(const Levels&) = delete;
  Levels& operator=(const Levels&) = delete;

  // set<M>(labels..., value).
  template <Metric M, typename... Args>
  void set(Args... args) {
    const auto all = std::make_tuple(args...);
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      const auto value = static_cast<double>(std::get<sizeof...(Args) - 1>(all));
      cell<M>(std::get<I>(all)...).store(std::bit_cast<std::uint64_t>(value), std::memory_order_relaxed);
    }(std::make_index_sequence<sizeof...(Args) - 1>{});
  }

  template <Metric M, typename... Labels>
  void unset(Labels... labels) {
    cell<M>(labels...).store(absent, std::memory_order_relaxed);
  }
  void unset_all(Metric metric);

  std::optional<double> read(std::size_t cell) const {
    const std::uint64_t bits = cells_[cell].load(std::memory_order_relaxed);
    if (bits == absent) return std::nullopt;
    return std::bit_cast<double>(bits);
  }

 private:
  template <Metric M, typename... Labels>
  std::atomic<std::uint64_t>& cell(Labels... labels) {
    static_assert(row_of(M).in_levels());
    const std::size_t index = layout_.base(M) + detail::series_offset<M>(labels...);
    assert(index < layout_.level_cells());
    return cells_[index < layout_.level_cells() ? index : 0];
  }

  // A NaN no arithmetic makes.
  static constexpr std::uint64_t absent = 0x7ff8'dead'0000'0001;
  const Layout& layout_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> cells_;
};

}  // namespace portcullis::metrics
