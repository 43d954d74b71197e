// Networks that gave wrong passwords a moment ago, for the order in which requests are asked (fair_queue.h).
// Thread-safe and bounded: when there are too many, the oldest is forgotten, which costs a guesser a new
// guess and nobody else anything.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>

#include "policy/ip.h"

namespace portcullis::auth {

class Suspects {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t entries_max = 4096;
  static constexpr std::chrono::seconds remembered{120};

  void note(const policy::IpNetwork& network, Time now) {
    const std::scoped_lock guard(lock_);
    if (noted_.size() >= entries_max && !noted_.contains(network)) {
      noted_.erase(std::ranges::min_element(noted_, {}, [](const auto& entry) { return entry.second; }));
    }
    noted_[network] = now;
  }
  bool contains(const policy::IpNetwork& network, Time now) const {
    const std::scoped_lock guard(lock_);
    const auto found = noted_.find(network);
    return found != noted_.end() && now - found->second < remembered;
  }

 private:
  mutable std::mutex lock_;
  std::map<policy::IpNetwork, Time> noted_;
};

}  // namespace portcullis::auth
