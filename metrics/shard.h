// The integers that are counted, one set per thread. See metrics.h for use.
//
// Shard belongs to one thread: add, up, down and observe are a relaxed load and a store, at offsets
// computed by the compiler but for the metric's base. SharedShard may be used by any thread, at the
// price of an atomic read-modify-write. Neither allocates, locks or fails. Labels out of range are a
// bug of the caller: asserted, and never a write outside the cells.
#pragma once

#include <atomic>
#include <bit>
#include <cassert>
#include <cstdint>
#include <memory>
#include <tuple>

#include "metrics/layout.h"

namespace portcullis::metrics {

// What a scrape reads.
class Cells {
 public:
  explicit Cells(const Layout& layout)
      : bases_(layout.bases()),
        size_(layout.shard_cells()),
        cells_(new std::atomic<std::uint64_t>[size_]()) {}
  Cells(const Cells&) = delete;
  Cells& operator=(const Cells&) = delete;

  std::uint64_t read(std::size_t cell) const { return cells_[cell].load(std::memory_order_relaxed); }

 protected:
  ~Cells() = default;
  // First cell of a series.
  template <Metric M>
  std::size_t at(std::size_t offset) const {
    const std::size_t cell = bases_[static_cast<std::size_t>(M)] + offset;
    const bool inside = cell + row_of(M).cells_per_series() <= size_;
    assert(inside);
    return inside ? cell : 0;
  }

  const std::uint32_t* bases_;
  std::size_t size_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> cells_;
};

template <bool Shared>
class BasicShard final : public Cells {
 public:
  using Cells::Cells;

  // add<M>(labels...) counts one, add<M>(labels..., amount) counts that many.
  template <Metric M, typename... Args>
  void add(Args... args) {
    static_assert(row_of(M).type == Type::counter);
    constexpr std::size_t dims = row_of(M).dim_count();
    if constexpr (sizeof...(Args) == dims) {
      count(at<M>(detail::series_offset<M>(args...)), 1);
    } else {
      with_last<M>([this](std::size_t cell, auto amount) { count(cell, static_cast<std::uint64_t>(amount)); },
                   args...);
    }
  }

  // Gauges: up<M>(labels...), down<M>(labels...); an amount may follow. What one shard takes up
  // another may take down: only the sum over the shards has a meaning.
  template <Metric M, typename... Args>
  void up(Args... args) {
    move<M, 1>(args...);
  }
  template <Metric M, typename... Args>
  void down(Args... args) {
    move<M, -1>(args...);
  }

  // Histograms: observe<M>(labels..., value) in the metric's base unit. NaN is ignored.
  template <Metric M, typename... Args>
  void observe(Args... args) {
    static_assert(row_of(M).type == Type::histogram);
    with_last<M>(
        [this](std::size_t cell, double value) {
          constexpr auto bounds = bounds_of(row_of(M).buckets);
          if (value != value) return;
          std::size_t bucket = 0;
          while (bucket < bounds.size() && value > bounds[bucket]) ++bucket;
          count(cell + bucket, 1);
          sum(cell + bounds.size() + 1, value);
        },
        args...);
  }

 private:
  template <Metric M, int Sign, typename... Args>
  void move(Args... args) {
    static_assert(row_of(M).type == Type::gauge);
    constexpr auto sign = static_cast<std::uint64_t>(Sign);  // -1 wraps around, as the sum does back
    if constexpr (sizeof...(Args) == row_of(M).dim_count()) {
      count(at<M>(detail::series_offset<M>(args...)), sign);
    } else {
      with_last<M>(
          [this](std::size_t cell, auto amount) { count(cell, sign * static_cast<std::uint64_t>(amount)); },
          args...);
    }
  }

  // Calls use(cell, last argument), where the arguments before the last are the labels.
  template <Metric M, typename Use, typename... Args>
  void with_last(Use use, Args... args) {
    static_assert(sizeof...(Args) == row_of(M).dim_count() + 1,
                  "one argument for each label, then the value");
    const auto all = std::make_tuple(args...);
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      use(at<M>(detail::series_offset<M>(std::get<I>(all)...)), std::get<sizeof...(Args) - 1>(all));
    }(std::make_index_sequence<sizeof...(Args) - 1>{});
  }

  void count(std::size_t cell, std::uint64_t amount) {
    if constexpr (Shared) {
      cells_[cell].fetch_add(amount, std::memory_order_relaxed);
    } else {
      cells_[cell].store(cells_[cell].load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
    }
  }

  void sum(std::size_t cell, double value) {
    if constexpr (Shared) {
      std::uint64_t old = cells_[cell].load(std::memory_order_relaxed);
      while (!cells_[cell].compare_exchange_weak(old, added(old, value), std::memory_order_relaxed)) {
      }
    } else {
      cells_[cell].store(added(cells_[cell].load(std::memory_order_relaxed), value),
                         std::memory_order_relaxed);
    }
  }
  static std::uint64_t added(std::uint64_t bits, double value) {
    return std::bit_cast<std::uint64_t>(std::bit_cast<double>(bits) + value);
  }
};

using Shard = BasicShard<false>;
using SharedShard = BasicShard<true>;

}  // namespace portcullis::metrics
