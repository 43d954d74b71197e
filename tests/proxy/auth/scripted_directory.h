// A directory server that does what the test says, octet for octet: faults that slapd has not on demand.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/auth/settings.h"

namespace portcullis::auth::testing {

// Requests and answers in BER, as far as a login needs them: lengths below 65536, message ids below 128.
struct LdapRequest {
  std::uint8_t id = 0;
  std::uint8_t operation = 0;
};
inline constexpr std::uint8_t bind_request = 0x60;
inline constexpr std::uint8_t search_request = 0x63;
inline constexpr std::uint8_t extended_request = 0x77;

inline std::string element(std::uint8_t tag, const std::string& content) {
  std::string out(1, static_cast<char>(tag));
  if (content.size() < 128) {
    out += static_cast<char>(content.size());
  } else {
    out += '\x82';
    out += static_cast<char>(content.size() >> 8U);
    out += static_cast<char>(content.size() & 0xffU);
  }
  return out + content;
}

inline std::string message(const LdapRequest& request, std::uint8_t tag, const std::string& content) {
  return element(0x30, element(0x02, std::string(1, static_cast<char>(request.id))) + element(tag, content));
}

// The answer to a bind, the end of a search, the answer to StartTLS.
inline std::string done(const LdapRequest& request, std::uint8_t code) {
  const std::uint8_t tag = request.operation == bind_request     ? 0x61
                           : request.operation == search_request ? 0x65
                                                                 : 0x78;
  return message(
      request, tag,
      element(0x0a, std::string(1, static_cast<char>(code))) + element(0x04, "") + element(0x04, ""));
}

inline std::string entry(const LdapRequest& request, const std::string& dn, const std::string& attribute,
                         const std::string& value) {
  const std::string values = element(0x31, element(0x04, value));
  return message(request, 0x64,
                 element(0x04, dn) + element(0x30, element(0x30, element(0x04, attribute) + values)));
}

class ScriptedDirectory {
 public:
  // One client connection, as the script sees it.
  class Connection {
   public:
    explicit Connection(int fd, std::size_t number) : fd_(fd), number_(number) {}
    std::size_t number() const { return number_; }  // from 0, in the order of their coming
    // Nothing when the client is gone or says good-bye.
    std::optional<LdapRequest> next() {
      const std::string head = take(2);
      if (head.size() < 2) return std::nullopt;
      std::size_t size = static_cast<std::uint8_t>(head[1]);
      if (size >= 0x80) {
        std::size_t length = 0;
        for (const char c : take(size - 0x80)) length = length << 8U | static_cast<std::uint8_t>(c);
        size = length;
      }
      const std::string body = take(size);
      if (body.size() < 4) return std::nullopt;
      LdapRequest request{static_cast<std::uint8_t>(body[2]), static_cast<std::uint8_t>(body[3])};
      if (request.operation == 0x42) return std::nullopt;
      return request;
    }
    bool say(const std::string& octets) {
      return ::send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(octets.size());
    }
    // Until the client is gone.
    void hold() {
      while (!take(1).empty()) {
      }
    }

   private:
    std::string take(std::size_t octets) {
      std::string out(octets, '\0');
      const ssize_t n = octets == 0 ? 0 : ::recv(fd_, out.data(), octets, MSG_WAITALL);
      out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
      return out;
    }
    int fd_;
    std::size_t number_;
  };
  using Script = std::function<void(Connection&)>;  // on a thread of each connection

  explicit ScriptedDirectory(Script script)
      : script_(std::move(script)), fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(fd_, 5) != 0) {
      throw std::runtime_error("can not listen");
    }
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ScriptedDirectory(const ScriptedDirectory&) = delete;
  ScriptedDirectory& operator=(const ScriptedDirectory&) = delete;
  ~ScriptedDirectory() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    {
      const std::scoped_lock guard(lock_);
      for (const int client : clients_) ::shutdown(client, SHUT_RDWR);
    }
    for (std::thread& each : threads_) each.join();
    for (const int client : clients_) ::close(client);
    ::close(fd_);
  }

  // By template, and what the entry says is read as the user.
  LdapBackend settings() const {
    LdapBackend settings;
    settings.urls = {"ldap://127.0.0.1:" + std::to_string(port_)};
    settings.dn_template = "uid={login},dc=example,dc=com";
    settings.base_dn = "dc=example,dc=com";
    settings.limits.breaker_failures = 0;
    return settings;
  }

 private:
  void serve() {
    for (;;) {
      const int client = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      const std::scoped_lock guard(lock_);
      clients_.push_back(client);
      threads_.emplace_back([this, client, number = clients_.size() - 1] {
        Connection connection(client, number);
        script_(connection);
        ::shutdown(client, SHUT_RDWR);
      });
    }
  }

  Script script_;
  int fd_;
  std::uint16_t port_ = 0;
  std::mutex lock_;
  std::vector<int> clients_;
  std::vector<std::thread> threads_;
  std::thread thread_;
};

}  // namespace portcullis::auth::testing
