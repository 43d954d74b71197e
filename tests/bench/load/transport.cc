#include "tests/bench/load/transport.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace portcullis::bench {

namespace {

constexpr std::size_t most_octets = std::size_t{1} << 30U;  // of one call: lengths of TLS are int

}  // namespace

bool Transport::connect(const sockaddr_in& address) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return false;
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);  // NOLINT: sockets API
  return ::connect(fd_, generic, sizeof address) == 0 || errno == EINPROGRESS;
}

bool Transport::start_tls(SSL_CTX* context, SSL_SESSION* session) {
  ssl_.reset(SSL_new(context));
  if (!ssl_ || SSL_set_fd(ssl_.get(), fd_) != 1) return false;
  SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_set_connect_state(ssl_.get());
  if (session != nullptr) SSL_set_session(ssl_.get(), session);
  return true;
}

Transport::Progress Transport::handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) return Progress::done;
  const int reason = SSL_get_error(ssl_.get(), result);
  return reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE ? Progress::again : Progress::failed;
}

int Transport::read(std::span<char> buffer) {
  if (!ssl_) {
    const ssize_t size = recv(fd_, buffer.data(), buffer.size(), 0);
    if (size > 0) return static_cast<int>(size);
    return size < 0 && errno == EAGAIN ? again : ended;
  }
  ERR_clear_error();
  const int size = SSL_read(ssl_.get(), buffer.data(), static_cast<int>(buffer.size()));
  if (size > 0) return size;
  return SSL_get_error(ssl_.get(), size) == SSL_ERROR_WANT_READ ? again : ended;
}

int Transport::write(std::string_view bytes) {
  const std::size_t most = std::min(bytes.size(), most_octets);
  if (!ssl_) {
    const ssize_t size = send(fd_, bytes.data(), most, MSG_NOSIGNAL);
    if (size > 0) return static_cast<int>(size);
    return size < 0 && errno == EAGAIN ? again : ended;
  }
  ERR_clear_error();
  const int size = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(most));
  if (size > 0) return size;
  return SSL_get_error(ssl_.get(), size) == SSL_ERROR_WANT_WRITE ? again : ended;
}

void Transport::close() {
  ssl_.reset();
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

}  // namespace portcullis::bench
