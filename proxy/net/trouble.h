// Which kinds of trouble have been recorded lately, over all workers: what a flood of connections causes is
// recorded once a minute for each kind.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace portcullis::net {

class Trouble {
 public:
  // Whether a record of this kind is due at `now_ns` (uv_hrtime()). Kinds are a fixed few.
  bool due(std::string_view kind, std::uint64_t now_ns) {
    constexpr std::uint64_t pause_ns = 60'000'000'000;
    const std::lock_guard lock(mutex_);
    const auto [at, first] = recorded_ns_.emplace(kind, now_ns);
    if (!first && now_ns - at->second < pause_ns) return false;
    at->second = now_ns;
    return true;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::uint64_t, std::less<>> recorded_ns_;
};

}  // namespace portcullis::net
