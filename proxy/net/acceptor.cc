#include "proxy/net/acceptor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "proxy/net/uv_calls.h"

namespace portcullis::net {

namespace {

constexpr int backlog = 1024;

}  // namespace

struct Acceptor::Handle {
  void accept();
  bool watch();
  void pause(int error);
  void close();
  static Handle& of(void* handle) { return *static_cast<Handle*>(static_cast<uv_handle_t*>(handle)->data); }
  static void on_closed(uv_handle_t* handle) noexcept {
    Handle& self = of(handle);
    if (--self.open_handles == 0) delete &self;
  }

  uv_poll_t poll{};
  uv_timer_t timer{};
  int fd = -1;
  int open_handles = 2;
  Acceptor* owner = nullptr;  // null once it is gone
  Host* host = nullptr;
};

Acceptor::Then Acceptor::after(int error) {
  switch (error) {
    case EAGAIN:
      return Then::wait;
    // This connection is lost already (accept(2), "Error handling"); the next one may be well.
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:  // a firewall rule
      return Then::next;
    // EMFILE, ENFILE, ENOBUFS, ENOMEM, and whatever nobody has foreseen: the poll would report the socket
    // again at once.
    default:
      return Then::pause;
  }
}

std::expected<std::unique_ptr<Acceptor>, std::string> Acceptor::listen(uv_loop_t& loop, int fd, Host& host) {
  const int on = 1;
  // Small replies must not wait for the peer's delayed ACK. Accepted sockets inherit it.
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 || ::listen(fd, backlog) != 0) {
    const std::string error = std::strerror(errno);
    ::close(fd);
    return std::unexpected(error);
  }
  auto handle = std::make_unique<Handle>();
  handle->fd = fd;
  handle->host = &host;
  if (const uv::Status made = uv::init(loop, handle->poll, fd); !made.ok()) {
    ::close(fd);
    return std::unexpected(made.text());
  }
  uv::init(loop, handle->timer);
  handle->poll.data = handle->timer.data = handle.get();
  std::unique_ptr<Acceptor> acceptor(new Acceptor(handle.get()));  // closes what is open on failure
  Handle* const made = handle.release();
  made->owner = acceptor.get();
  if (!made->watch()) return std::unexpected("the socket can not be polled");
  return acceptor;
}

Acceptor::~Acceptor() {
  handle_->owner = nullptr;
  handle_->close();
}

int Acceptor::descriptor() const { return handle_->fd; }

bool Acceptor::Handle::watch() {
  return uv::start(poll, UV_READABLE, [](uv_poll_t* from, int, int) { of(from).accept(); }).ok();
}

// An error of the poll needs no look of its own: accept4 then reports what is wrong.
void Acceptor::Handle::accept() {
  for (int taken = 0; taken < most_a_turn && owner != nullptr; ++taken) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    const int connection = accept4(fd, reinterpret_cast<sockaddr*>(&peer), &size,  // NOLINT: sockets API
                                   SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection >= 0) {
      host->on_accepted(*owner, connection, peer);
      continue;
    }
    const int error = errno;
    const Then then = after(error);
    if (then == Then::wait) return;
    if (then == Then::pause) return pause(error);
  }
}

void Acceptor::Handle::pause(int error) {
  uv::stop(poll);
  uv::start(
      timer,
      [](uv_timer_t* fired) noexcept {
        Handle& self = of(fired);
        if (!self.watch()) self.pause(EINVAL);
      },
      pause_ms, 0);
  host->on_accept_pause(*owner, error);
}

void Acceptor::Handle::close() {
  uv_close(uv::handle_of(&poll), on_closed);
  uv_close(uv::handle_of(&timer), on_closed);
  ::close(fd);  // the poll has left it already
  fd = -1;
}

}  // namespace portcullis::net
