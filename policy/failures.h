// Distinct failures of one network or login within a window, and the block they led to.
#pragma once

#include <cstdint>
#include <vector>

#include "policy/facts.h"

namespace portcullis::policy {

class Failures {
 public:
  // Notes a failure known by a hash. The same one again only renews its time. Reaching `limit`
  // distinct ones blocks, and the count begins anew.
  void note(std::uint64_t hash, std::uint32_t limit, std::uint32_t window_seconds,
            std::uint32_t block_seconds, WallTime now);
  std::uint32_t distinct(std::uint32_t window_seconds, WallTime now) const;
  void block_until(WallTime until, WallTime now);
  // 0 when not blocked.
  std::uint32_t blocked_for_seconds(WallTime now) const;
  bool idle(std::uint32_t window_seconds, WallTime now) const {
    return blocked_for_seconds(now) == 0 && distinct(window_seconds, now) == 0;
  }

 private:
  struct Failure {
    std::uint32_t hash = 0;  // 32 bits do: a collision counts two failures as one, at most
    std::uint32_t at = 0;    // seconds since the epoch
  };
  std::vector<Failure> failures_;
  std::uint32_t blocked_until_ = 0;
  std::uint32_t block_seconds_ = 0;  // how long the block was to last
};

}  // namespace portcullis::policy
