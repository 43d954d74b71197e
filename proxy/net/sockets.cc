#include "proxy/net/sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace portcullis::net {

namespace {

std::expected<int, std::string> bound(const config::Socket& socket_address) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (socket_address.address.v6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);  // NOLINT: sockets API
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(socket_address.port);
    std::memcpy(&v6->sin6_addr, socket_address.address.octets.data(), 16);
    size = sizeof(sockaddr_in6);
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);  // NOLINT
    v4->sin_family = AF_INET;
    v4->sin_port = htons(socket_address.port);
    std::memcpy(&v4->sin_addr, socket_address.address.octets.data(), 4);
    size = sizeof(sockaddr_in);
  }
  const int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return std::unexpected(std::strerror(errno));
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  // "[::]:25" is IPv6 alone: an admin who wants IPv4 too says so, and each can then fail by itself.
  if (socket_address.address.v6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&storage), size) != 0) {  // NOLINT
    const std::string error = std::strerror(errno);
    close(fd);
    return std::unexpected(error);
  }
  return fd;
}

bool listens_for_tcp(int fd) {
  sockaddr_storage address{};
  socklen_t address_size = sizeof address;
  int listens = 0;
  socklen_t size = sizeof listens;
  return getsockname(fd, reinterpret_cast<sockaddr*>(&address), &address_size) == 0 &&  // NOLINT
         (address.ss_family == AF_INET || address.ss_family == AF_INET6) &&
         getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
}

// Sockets systemd passed under a name; each worker gets a duplicate.
std::vector<int> passed(const std::string& name) {
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(0, &names);
  std::vector<int> fds;
  for (int i = 0; i < count; ++i) {
    if (name == names[i]) fds.push_back(SD_LISTEN_FDS_START + i);
    free(names[i]);  // NOLINT: allocated by libsystemd
  }
  free(names);  // NOLINT
  return fds;
}

}  // namespace

std::string socket_key(const config::Socket& socket) {
  return policy::to_string(socket.address) + '/' + std::to_string(socket.port);
}

std::vector<std::pair<std::string, std::size_t>> socket_keys(const config::Config& config) {
  std::vector<std::pair<std::string, std::size_t>> keys;
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    for (const config::Socket& socket : config.listeners[i].sockets) keys.emplace_back(socket_key(socket), i);
    if (!config.listeners[i].systemd_name.empty())
      keys.emplace_back("systemd/" + config.listeners[i].systemd_name, i);
  }
  return keys;
}

void close_sockets(const std::vector<std::vector<BoundSocket>>& sockets) {
  for (const auto& worker : sockets) {
    for (const BoundSocket& socket : worker) close(socket.fd);
  }
}

std::expected<std::vector<std::vector<BoundSocket>>, std::string> bind_sockets(
    const config::Config& config, std::size_t workers, const std::vector<std::string>& known) {
  std::vector<std::vector<BoundSocket>> sockets(workers);
  const auto is_known = [&](const std::string& key) {
    return std::find(known.begin(), known.end(), key) != known.end();
  };
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const config::Listener& listener = config.listeners[i];
    for (const config::Socket& socket : listener.sockets) {
      const std::string key = socket_key(socket);
      if (is_known(key)) continue;
      for (std::size_t worker = 0; worker < workers; ++worker) {
        const auto fd = bound(socket);
        if (!fd) {
          close_sockets(sockets);
          return std::unexpected("listener \"" + listener.name + "\": can not bind " +
                                 policy::to_string(socket.address) + " port " + std::to_string(socket.port) +
                                 ": " + fd.error());
        }
        sockets[worker].push_back({*fd, i, key});
      }
    }
    if (listener.systemd_name.empty() || is_known("systemd/" + listener.systemd_name)) continue;
    const std::vector<int> fds = passed(listener.systemd_name);
    if (fds.empty()) {
      close_sockets(sockets);
      return std::unexpected("listener \"" + listener.name + "\": systemd passed no socket named \"" +
                             listener.systemd_name + '"');
    }
    for (const int fd : fds) {
      if (!listens_for_tcp(fd)) {
        close_sockets(sockets);
        return std::unexpected("listener \"" + listener.name + "\": what systemd passed as \"" +
                               listener.systemd_name +
                               "\" does not listen for TCP connections (ListenStream=, Accept=no)");
      }
      for (std::size_t worker = 0; worker < workers; ++worker) {
        const int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (own < 0) {
          const std::string error = std::strerror(errno);
          close_sockets(sockets);
          return std::unexpected("listener \"" + listener.name + "\": " + error);
        }
        sockets[worker].push_back({own, i, "systemd/" + listener.systemd_name});
      }
    }
  }
  return sockets;
}

}  // namespace portcullis::net
