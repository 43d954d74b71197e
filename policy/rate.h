// The arithmetic of a rate: how much was used in the period that ends now.
//
// A period is cut into twelve slots (a day into 2 h, an hour into 5 min, a minute into 5 s) and the
// current slot and the twelve before it are kept. All thirteen count in full, so that a limit is
// never exceeded in any period, wherever it begins; the price is that a charge is forgotten between
// one period and one slot more after it was made. The two cheaper ways were rejected because both
// let through up to twice the amount in one period: the two-counter window by assuming that the
// previous period was spread evenly, GCRA because a full burst and a period's refill add up. An admin
// who writes "500 recipients/day" means 500.
//
//   RateWindow window;
//   if (window.used(period, now) + amount <= capacity) window.add(amount, period, now);
//   else retry = window.retry_after_seconds(amount, capacity, period, now);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "policy/facts.h"

namespace portcullis::policy {

class RateWindow {
 public:
  static constexpr std::size_t slots_per_period = 12;
  static constexpr std::size_t slots = slots_per_period + 1;

  // Seconds of one slot: the period's twelfth, rounded up, at least 1.
  static std::int64_t slot_seconds(std::uint32_t period_seconds);

  std::uint64_t used(std::uint32_t period_seconds, WallTime now) const;
  // Amounts saturate.
  void add(std::uint64_t amount, std::uint32_t period_seconds, WallTime now);
  // Takes back what was added at `added`, never below zero, and nothing once that is forgotten. It must come
  // out of its own slot: out of a newer one, what was used there meanwhile would be forgotten too early.
  void take_back(std::uint64_t amount, std::uint32_t period_seconds, WallTime added, WallTime now);
  // Seconds until `amount` fits under `capacity` if nothing else is charged: the moment the last of
  // the slots that stand in the way is forgotten. 0: it fits now, or never (amount > capacity).
  std::uint32_t retry_after_seconds(std::uint64_t amount, std::uint64_t capacity,
                                    std::uint32_t period_seconds, WallTime now) const;
  // Whether both moments are in the same slot.
  static bool in_one_slot(std::uint32_t period_seconds, WallTime a, WallTime b);
  // Whether nothing is left to remember.
  bool expired(std::uint32_t period_seconds, WallTime now) const;

  // For persistence: the newest slot's number (since the epoch) and the amounts, newest first.
  struct Saved {
    std::int64_t newest_slot = 0;
    std::array<std::uint64_t, slots> amounts{};
    bool operator==(const Saved&) const = default;
  };
  Saved save() const { return saved_; }
  // What no clock can have counted is not taken.
  void restore(const Saved& saved) {
    if (saved.newest_slot >= 0 && saved.newest_slot <= newest_slot_max) saved_ = saved;
  }

 private:
  // The window as it is at `now`. A clock that went back a little goes on in the newest slot; one
  // that went back by more than the whole window was wrong before, and what it counted is dropped.
  Saved at(std::uint32_t period_seconds, WallTime now) const;
  // How many slots passed since the newest one began; all of them when nothing is left of what it counted.
  std::size_t passed(std::int64_t slot) const;
  static constexpr std::int64_t newest_slot_max = std::int64_t{1} << 40;
  Saved saved_;
};

}  // namespace portcullis::policy
