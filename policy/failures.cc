#include "policy/failures.h"

#include <algorithm>

namespace portcullis::policy {
namespace {

std::uint32_t seconds(WallTime now) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(now.time_since_epoch().count(), 0, 0xffffffff));
}

// A clock that went back makes nothing older than it is.
bool within(std::uint32_t at, std::uint32_t window_seconds, std::uint32_t now) {
  return at >= now || now - at < window_seconds;
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
}

void Failures::block_until(WallTime until) { blocked_until_ = seconds(until); }

std::uint32_t Failures::distinct(std::uint32_t window_seconds, WallTime now) const {
  const std::uint32_t at = seconds(now);
  return static_cast<std::uint32_t>(std::ranges::count_if(
      failures_, [&](const Failure& each) { return within(each.at, window_seconds, at); }));
}

std::uint32_t Failures::blocked_for_seconds(WallTime now) const {
  const std::uint32_t at = seconds(now);
  return blocked_until_ > at ? blocked_until_ - at : 0;
}

}  // namespace portcullis::policy
