#include "proxy/net/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace portcullis::net {

ServiceManager::Settings ServiceManager::from_environment() {
  Settings settings;
  if (const char* socket = std::getenv("NOTIFY_SOCKET"); socket != nullptr) settings.socket = socket;
  // 0: not for this process. Below 0: the variables are no numbers, and there is nobody to be told.
  if (sd_watchdog_enabled(0, &settings.watchdog_us) <= 0) settings.watchdog_us = 0;
  return settings;
}

ServiceManager::ServiceManager(const Settings& settings) : socket_(settings.socket) {
  if (socket_.empty()) return;
  fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (settings.watchdog_us > 0)
    ping_ms_ = std::max<std::int64_t>(1, static_cast<std::int64_t>(settings.watchdog_us / 2000));
}

ServiceManager::~ServiceManager() {
  if (fd_ >= 0) ::close(fd_);
}

void ServiceManager::state(std::string text) {
  unsent_ = std::move(text);
  if (send(unsent_)) unsent_.clear();
}

void ServiceManager::tick(std::int64_t now_ms, bool healthy) {
  if (!unsent_.empty() && send(unsent_)) unsent_.clear();
  if (ping_ms_ == 0 || now_ms < ping_due_ms_ || !healthy) return;
  if (send("WATCHDOG=1")) ping_due_ms_ = now_ms + ping_ms_;
}

// False when it may succeed later. Where nobody listens any more, nobody is to be told.
bool ServiceManager::send(const std::string& text) const {
  sockaddr_un address{};
  if (fd_ < 0 || socket_.size() >= sizeof address.sun_path) return true;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_.front() == '@') address.sun_path[0] = '\0';  // abstract: without a terminator
  const std::size_t size =
      offsetof(sockaddr_un, sun_path) + socket_.size() + (socket_.front() == '@' ? 0U : 1U);
  const ssize_t sent = sendto(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                              reinterpret_cast<const sockaddr*>(&address),  // NOLINT: sockets API
                              static_cast<socklen_t>(size));
  return sent >= 0 || (errno != EAGAIN && errno != ENOBUFS && errno != EINTR);
}

}  // namespace portcullis::net
