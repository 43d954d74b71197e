// Port to where counters live (design: in memory, SQLite behind; Redis later). Implementations are
// thread-safe and never block on I/O: persistence is written behind.
#pragma once

#include <cstdint>
#include <expected>
#include <string_view>

#include "policy/facts.h"

namespace portcullis::policy {

enum class StoreError : std::uint8_t { unavailable };

class CounterStore {
 public:
  virtual ~CounterStore() = default;

  struct Charge {
    std::string_view limit;  // rule name
    std::string_view key;    // "alice@example.com", "192.0.2.1"
    std::uint64_t amount = 0;
    std::uint64_t capacity = 0;
    std::uint32_t period_seconds = 0;
  };
  struct Outcome {
    bool within = true;                     // false: nothing was charged
    std::uint64_t used = 0;                 // after the charge, in the sliding period
    std::uint32_t retry_after_seconds = 0;  // when !within
  };
  // Charges `amount` if it fits into a sliding period ending at `now` (see rate.h for the
  // arithmetic). With `always`, charges even when over: for what has happened already.
  virtual std::expected<Outcome, StoreError> charge(const Charge& charge, WallTime now, bool always) = 0;
  // Gives back what was charged at `charged` for something that did not happen.
  virtual void refund(const Charge& charge, WallTime charged, WallTime now) = 0;
  // Reads without charging (portcullis explain, metrics).
  virtual std::expected<Outcome, StoreError> peek(const Charge& charge, WallTime now) const = 0;
};

}  // namespace portcullis::policy
