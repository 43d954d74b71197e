// What the service manager is told (sd_notify(3)), without ever waiting for it: libsystemd's sd_notify blocks
// while the manager does not read its socket. A state that does not fit is sent at a later call of tick().
//
//   ServiceManager manager(ServiceManager::from_environment());
//   manager.state("READY=1\nSTATUS=serving");
//   manager.tick(now_ms, healthy);   // from a timer of the main loop, often
#pragma once

#include <cstdint>
#include <string>

namespace portcullis::net {

class ServiceManager {
 public:
  struct Settings {
    std::string socket;  // NOTIFY_SOCKET: a path, or an abstract name that begins with '@'; empty: none
    std::uint64_t watchdog_us = 0;  // WATCHDOG_USEC; 0: no watchdog
  };
  static Settings from_environment();

  explicit ServiceManager(const Settings& settings);
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // Replaces a state that could not be sent yet.
  void state(std::string text);
  // Sends what waits, and twice in an interval of the watchdog that all is well, if it is.
  void tick(std::int64_t now_ms, bool healthy);

 private:
  bool send(const std::string& text) const;

  std::string socket_;
  int fd_ = -1;
  std::string unsent_;
  std::int64_t ping_ms_ = 0;  // half the interval; 0: no watchdog
  std::int64_t ping_due_ms_ = 0;
};

}  // namespace portcullis::net
