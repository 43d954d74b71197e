#include "proxy/net/sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proxy/config/overlap.h"

namespace portcullis::net {

namespace {

// What goes wrong is in errno, and the socket is closed.
int failed(int fd) {
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

bool turned_on(int fd, int level, int option) {
  const int on = 1;
  return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

// Listens on an address that nobody else listens on, be it with SO_REUSEPORT; then lets the sockets of our
// own workers share it. Binding alone would not tell: of two gateways that start at once both could bind.
int listening_alone(const config::Socket& socket) {
  const int fd = bound(socket, false);
  if (fd < 0) return fd;
  return listen(fd, 1) == 0 && turned_on(fd, SOL_SOCKET, SO_REUSEPORT) ? fd : failed(fd);
}

bool is_ours(const config::Config& config, const config::Socket& socket) {
  return std::any_of(config.listeners.begin(), config.listeners.end(), [&](const config::Listener& listener) {
    return std::any_of(listener.sockets.begin(), listener.sockets.end(),
                       [&](const config::Socket& own) { return config::overlap(own, socket); });
  });
}

// A socket for each worker, all listening: from here on no other gateway gets the address.
// `ours`: some of it is listened on by this process already, so that nobody else can.
std::expected<std::vector<int>, std::string> shared(const config::Socket& socket, std::size_t workers,
                                                    bool ours) {
  std::vector<int> fds;
  const int guard = ours ? -1 : listening_alone(socket);
  int error = guard < 0 && !ours ? errno : 0;
  while (error == 0 && fds.size() < workers) {
    int fd = bound(socket, true);
    if (fd >= 0 && listen(fd, SOMAXCONN) != 0) fd = failed(fd);
    fd < 0 ? static_cast<void>(error = errno) : fds.push_back(fd);
  }
  if (guard >= 0) close(guard);
  if (error == 0) return fds;
  for (const int fd : fds) close(fd);
  std::string text = std::strerror(error);
  if (error == EADDRINUSE) text += " (another process, or another gateway, listens there)";
  return std::unexpected(text);
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

int bound(const config::Socket& socket_address, bool share) {
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
  if (fd < 0) return fd;
  // "[::]:25" is IPv6 alone: an admin who wants IPv4 too says so, and each can then fail by itself.
  const bool ready = turned_on(fd, SOL_SOCKET, SO_REUSEADDR) &&
                     (!share || turned_on(fd, SOL_SOCKET, SO_REUSEPORT)) &&
                     (!socket_address.address.v6 || turned_on(fd, IPPROTO_IPV6, IPV6_V6ONLY)) &&
                     bind(fd, reinterpret_cast<const sockaddr*>(&storage), size) == 0;  // NOLINT
  return ready ? fd : failed(fd);
}

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

std::expected<std::vector<std::vector<BoundSocket>>, std::string> bind_sockets(const config::Config& config,
                                                                               std::size_t workers,
                                                                               const config::Config* before) {
  std::vector<std::vector<BoundSocket>> sockets(workers);
  const auto known =
      before != nullptr ? socket_keys(*before) : std::vector<std::pair<std::string, std::size_t>>();
  const auto is_known = [&](const std::string& key) {
    return std::any_of(known.begin(), known.end(), [&](const auto& each) { return each.first == key; });
  };
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const config::Listener& listener = config.listeners[i];
    for (const config::Socket& socket : listener.sockets) {
      const std::string key = socket_key(socket);
      if (is_known(key)) continue;
      const auto fds = shared(socket, workers, before != nullptr && is_ours(*before, socket));
      if (!fds) {
        close_sockets(sockets);
        return std::unexpected("listener \"" + listener.name + "\": can not listen on " +
                               policy::to_string(socket.address) + " port " + std::to_string(socket.port) +
                               ": " + fds.error());
      }
      for (std::size_t worker = 0; worker < workers; ++worker)
        sockets[worker].push_back({(*fds)[worker], i, key});
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
