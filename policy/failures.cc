#include "policy/failures.h"

#include <algorithm>

namespace portcullis::policy {
namespace {

std::uint32_t seconds(WallTime now) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(now.time_since_epoch().count(), 0, 0xffffffff));
}

// A clock that went back a little makes nothing older than it is. What is further ahead than the window was
// noted by a clock that was wrong, and would count until that time comes.
bool within(std::uint32_t at, std::uint32_t window_seconds, std::uint32_t now) {
  return (at >= now ? at - now : now - at) < window_seconds;
}

}  // namespace

void Failures::note(std::uint64_t hash, std::uint32_t limit, std::uint32_t window_seconds,
                    std::uint32_t block_seconds, WallTime now) {
  const std::uint32_t at = seconds(now);
  std::erase_if(failures_, [&](const Failure& each) { return !within(each.at, window_seconds, at); });
  const auto short_hash = static_cast<std::uint32_t>(hash);
  const auto found = std::ranges::find(failures_, short_hash, &Failure::hash);
  if (found != failures_.end()) {
    found->at = at;
    return;
  }
  failures_.push_back({short_hash, at});
  if (limit == 0 || failures_.size() < limit) return;
  failures_.clear();
  blocked_until_ = at + block_seconds;
  block_seconds_ = block_seconds;
}

void Failures::block_until(WallTime until, WallTime now) {
  blocked_until_ = seconds(until);
  block_seconds_ = blocked_until_ - std::min(blocked_until_, seconds(now));
}

std::uint32_t Failures::distinct(std::uint32_t window_seconds, WallTime now) const {
  const std::uint32_t at = seconds(now);
  return static_cast<std::uint32_t>(std::ranges::count_if(
      failures_, [&](const Failure& each) { return within(each.at, window_seconds, at); }));
}

std::uint32_t Failures::blocked_for_seconds(WallTime now) const {
  const std::uint32_t at = seconds(now);
  const std::uint32_t left = blocked_until_ > at ? blocked_until_ - at : 0;
  // It can not last longer than it was to last: the clock went back. By little: it lasts a little longer. By
  // more: nobody knows how much of it is over, and it must not last until the wrong clock's time comes.
  return left > std::uint64_t{block_seconds_} * 2 ? 0 : left;
}

}  // namespace portcullis::policy
