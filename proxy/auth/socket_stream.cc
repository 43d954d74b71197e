#include "proxy/auth/socket_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "proxy/auth/tls_client.h"

namespace portcullis::auth {

namespace {

std::string error_text(int number) { return std::generic_category().message(number); }

std::unexpected<std::string> timed_out() {
  return std::unexpected(std::string("no answer within the deadline"));
}

// Of one address of several: time for a lost SYN to be sent again.
constexpr std::chrono::milliseconds address_time{2'000};

// 0 or an errno.
int connect_within(int fd, const dns::Address& address, SocketStream::Deadline deadline) {
  const auto* to = reinterpret_cast<const sockaddr*>(&address);  // NOLINT: sockets API
  if (::connect(fd, to, dns::length_of(address)) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!SocketStream::wait(fd, true, deadline)) return ETIMEDOUT;
  int error = 0;
  socklen_t length = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

}  // namespace

SocketStream::SocketStream(int fd) : fd_(fd) {}
SocketStream::SocketStream(SocketStream&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), peer_(std::move(other.peer_)), tls_(std::move(other.tls_)) {}

SocketStream::~SocketStream() {
  tls_.reset();
  if (fd_ >= 0) ::close(fd_);
}

bool SocketStream::wait(int fd, bool writable, Deadline deadline) {
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd entry{.fd = fd, .events = static_cast<short>(writable ? POLLOUT : POLLIN), .revents = 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 60'000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // the next call on the socket says what is wrong
  }
}

PeerAddress::Deadline PeerAddress::share_of(Deadline deadline) const {
  const auto left = deadline - std::chrono::steady_clock::now();
  return deadline - left * static_cast<int>(others_) / static_cast<int>(others_ + 1);
}

void PeerAddress::blame() const {
  if (book_ != nullptr) book_->failed(host_, address_);
}

std::expected<SocketStream, std::string> SocketStream::connect(const std::string& host, std::uint16_t port,
                                                               Deadline deadline, dns::AddressBook& book) {
  const dns::AddressBook::Answer answer = book.wait(host, deadline);
  if (answer.addresses.empty()) return std::unexpected(host + ": " + answer.error);
  int error = 0;
  for (std::size_t i = 0; i < answer.addresses.size(); ++i) {
    const dns::Address address = dns::with_port(answer.addresses[i], port);
    const int fd = ::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
      error = errno;
      continue;
    }
    SocketStream stream(fd);
    stream.peer_ = {book, host, address, i < answer.preferred ? answer.preferred - i - 1 : 0};
    const Deadline most = std::chrono::steady_clock::now() + address_time;
    error = connect_within(
        fd, address, stream.peer_.has_other() ? std::min(most, stream.peer_.share_of(deadline)) : deadline);
    if (error == 0) {
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return stream;
    }
    stream.peer_.blame();
  }
  return std::unexpected(host + ":" + std::to_string(port) + ": " + error_text(error));
}

std::expected<void, std::string> SocketStream::start_tls(const TlsClient& client,
                                                         const std::string& server_name, Deadline deadline) {
  auto session = client.handshake(fd_, server_name, deadline);
  if (!session) return std::unexpected(std::move(session.error()));
  tls_ = std::move(*session);
  return {};
}

std::expected<void, std::string> SocketStream::write(std::string_view bytes, Deadline deadline) {
  if (tls_) return tls_->write(bytes, deadline);
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (!wait(fd_, true, deadline)) return timed_out();
    } else if (errno != EINTR) {
      return std::unexpected(error_text(errno));
    }
  }
  return {};
}

std::expected<void, std::string> SocketStream::read(std::string& out, std::size_t octets, Deadline deadline) {
  if (tls_) return tls_->read(out, octets, deadline);
  std::array<char, 4096> block;
  for (;;) {
    const ssize_t n = ::recv(fd_, block.data(), std::min(octets, block.size()), 0);
    if (n > 0) {
      out.append(block.data(), static_cast<std::size_t>(n));
      return {};
    }
    if (n == 0) return std::unexpected(std::string("the server closed the connection"));
    if (errno == EAGAIN) {
      if (!wait(fd_, false, deadline)) return timed_out();
    } else if (errno != EINTR) {
      return std::unexpected(error_text(errno));
    }
  }
}

bool SocketStream::is_loopback() const {
  sockaddr_storage peer{};
  socklen_t length = sizeof peer;
  if (::getpeername(fd_, reinterpret_cast<sockaddr*>(&peer), &length) != 0) return false;
  if (peer.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&peer);
    return (ntohl(v4->sin_addr.s_addr) >> 24U) == 127;
  }
  return peer.ss_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(&peer)->sin6_addr);
}

}  // namespace portcullis::auth
