#include "policy/rate.h"

#include <algorithm>
#include <limits>

namespace portcullis::policy {
namespace {

constexpr std::uint64_t amount_max = std::numeric_limits<std::uint64_t>::max();

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  return a > amount_max - b ? amount_max : a + b;
}

std::int64_t slot_of(std::uint32_t period_seconds, WallTime now) {
  return std::max<std::int64_t>(now.time_since_epoch().count(), 0) / RateWindow::slot_seconds(period_seconds);
}

std::uint64_t sum(const RateWindow::Saved& window) {
  std::uint64_t total = 0;
  for (const std::uint64_t amount : window.amounts) total = saturating_add(total, amount);
  return total;
}

}  // namespace

std::int64_t RateWindow::slot_seconds(std::uint32_t period_seconds) {
  constexpr auto twelfth = static_cast<std::int64_t>(slots_per_period);
  return std::max<std::int64_t>((std::int64_t{period_seconds} + twelfth - 1) / twelfth, 1);
}

std::size_t RateWindow::passed(std::int64_t slot) const {
  constexpr auto all = static_cast<std::int64_t>(slots);
  if (slot >= saved_.newest_slot + all || slot <= saved_.newest_slot - all) return slots;
  return static_cast<std::size_t>(std::max<std::int64_t>(slot - saved_.newest_slot, 0));
}

RateWindow::Saved RateWindow::at(std::uint32_t period_seconds, WallTime now) const {
  const std::int64_t slot = slot_of(period_seconds, now);
  const std::size_t by = passed(slot);
  if (by == 0) return saved_;
  Saved moved{slot, {}};
  std::copy(saved_.amounts.begin(), saved_.amounts.end() - static_cast<std::ptrdiff_t>(by),
            moved.amounts.begin() + static_cast<std::ptrdiff_t>(by));
  return moved;
}

std::uint64_t RateWindow::used(std::uint32_t period_seconds, WallTime now) const {
  const std::size_t by = passed(slot_of(period_seconds, now));
  std::uint64_t total = 0;
  for (std::size_t i = 0; i + by < slots; ++i) total = saturating_add(total, saved_.amounts[i]);
  return total;
}

void RateWindow::add(std::uint64_t amount, std::uint32_t period_seconds, WallTime now) {
  if (passed(slot_of(period_seconds, now)) != 0) saved_ = at(period_seconds, now);
  saved_.amounts[0] = saturating_add(saved_.amounts[0], amount);
}

void RateWindow::take_back(std::uint64_t amount, std::uint32_t period_seconds, WallTime added, WallTime now) {
  saved_ = at(period_seconds, now);
  const std::int64_t back = saved_.newest_slot - slot_of(period_seconds, added);
  if (back < 0 || back >= static_cast<std::int64_t>(slots)) return;
  // With a clock that had gone back it was added to a newer slot than its time says.
  for (auto i = static_cast<std::size_t>(back) + 1; i-- > 0 && amount > 0;) {
    const std::uint64_t taken = std::min(saved_.amounts[i], amount);
    saved_.amounts[i] -= taken;
    amount -= taken;
  }
}

bool RateWindow::in_one_slot(std::uint32_t period_seconds, WallTime a, WallTime b) {
  return slot_of(period_seconds, a) == slot_of(period_seconds, b);
}

std::uint32_t RateWindow::retry_after_seconds(std::uint64_t amount, std::uint64_t capacity,
                                              std::uint32_t period_seconds, WallTime now) const {
  if (amount > capacity) return 0;
  const Saved window = at(period_seconds, now);
  std::uint64_t used = sum(window);
  const std::uint64_t room = capacity - amount;
  for (std::size_t back = slots; back-- > 0;) {
    if (used <= room) break;
    used -= std::min(used, window.amounts[back]);
    if (used > room) continue;
    // Slot number n is forgotten when slot n + 13 begins.
    const std::int64_t forgotten =
        (window.newest_slot - static_cast<std::int64_t>(back) + static_cast<std::int64_t>(slots)) *
        slot_seconds(period_seconds);
    const std::int64_t wait = forgotten - now.time_since_epoch().count();
    return static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(wait, 1, std::numeric_limits<std::uint32_t>::max()));
  }
  return 0;
}

bool RateWindow::expired(std::uint32_t period_seconds, WallTime now) const {
  return used(period_seconds, now) == 0;
}

}  // namespace portcullis::policy
