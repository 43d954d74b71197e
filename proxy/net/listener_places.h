// Connections of each listener, over all workers: what `connections_max` bounds. By name: a reload renumbers
// listeners.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <string>

namespace portcullis::net {

class ListenerPlaces {
 public:
  // False when `most` are taken already. Who got one owes a leave().
  bool take(const std::string& listener, std::size_t most) {
    const std::lock_guard lock(mutex_);
    std::size_t& taken = taken_[listener];
    if (taken >= most) return false;
    ++taken;
    return true;
  }
  void leave(const std::string& listener) {
    const std::lock_guard lock(mutex_);
    --taken_[listener];
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::size_t> taken_;
};

}  // namespace portcullis::net
