#include "proxy/sink/connection.h"

#include <netinet/in.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "proxy/net/uv_calls.h"

namespace portcullis::sink {
namespace {

namespace uv = net::uv;

struct Write {
  uv_write_t request{};
  std::string bytes;
};

bool is_loopback(const sockaddr_storage& peer) {
  if (peer.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(peer);
    return (ntohl(v4.sin_addr.s_addr) >> 24U) == 127;
  }
  if (peer.ss_family != AF_INET6) return false;
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

}  // namespace

Connection::Connection(Service& service, std::vector<char>& buffer, std::function<void(Connection*)> gone)
    : session_(service), buffer_(buffer), gone_(std::move(gone)) {}

Connection* Connection::accept(uv_stream_t* listener, Service& service, std::vector<char>& buffer,
                               std::function<void(Connection*)> gone) {
  auto* const connection = new Connection(service, buffer, std::move(gone));
  uv::init(*listener->loop, connection->handle_);
  connection->handle_.data = connection;
  if (uv_accept(listener, connection->stream()) != 0) {
    connection->gone_ = nullptr;
    connection->close();
    return nullptr;
  }
  sockaddr_storage peer{};
  int size = sizeof peer;
  const int named = uv_tcp_getpeername(&connection->handle_, reinterpret_cast<sockaddr*>(&peer), &size);
  if (named == 0 && is_loopback(peer)) connection->session_.trust();
  if (!uv::no_delay(connection->handle_).ok()) return connection->close(), nullptr;
  connection->start();
  return connection;
}

void Connection::start() {
  last_activity_ms_ = uv_now(handle_.loop);
  uv::start_reading(stream(), on_alloc, on_read);
  session_.begin(out_);
  flush();
}

void Connection::close() {
  auto* const handle = reinterpret_cast<uv_handle_t*>(&handle_);
  if (uv_is_closing(handle) != 0) return;
  session_.abandon();  // now: the server may be gone when libuv gives the handle back
  if (gone_) gone_(this);
  uv_close(handle, [](uv_handle_t* closed) { delete static_cast<Connection*>(closed->data); });
}

void Connection::on_alloc(uv_handle_t* handle, std::size_t, uv_buf_t* buffer) noexcept {
  std::vector<char>& shared = static_cast<Connection*>(handle->data)->buffer_;
  *buffer = uv_buf_init(shared.data(), static_cast<unsigned>(shared.size()));
}

void Connection::on_read(uv_stream_t* stream, ssize_t octets, const uv_buf_t* buffer) noexcept {
  auto* const connection = static_cast<Connection*>(stream->data);
  if (octets < 0) return connection->close();
  if (octets > 0) connection->received({buffer->base, static_cast<std::size_t>(octets)});
}

void Connection::received(std::string_view bytes) {
  if (lingering_) return;
  last_activity_ms_ = uv_now(handle_.loop);
  session_.feed(bytes, out_);
  flush();
}

// Usually the socket takes everything at once and no request is needed.
void Connection::flush() {
  std::string_view rest = out_;
  while (!rest.empty()) {
    const uv_buf_t piece = uv_buf_init(const_cast<char*>(rest.data()), static_cast<unsigned>(rest.size()));
    const int sent = uv_try_write(stream(), &piece, 1);
    if (sent == UV_EAGAIN) break;
    if (sent < 0) return close();
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  if (rest.empty()) {
    out_.clear();
    if (session_.closing()) finish();
    return;
  }
  auto* const write = new Write;
  write->bytes = rest;
  out_.clear();
  writing_ = true;
  uv::stop_reading(stream());
  const uv_buf_t piece = uv_buf_init(write->bytes.data(), static_cast<unsigned>(write->bytes.size()));
  write->request.data = write;
  const uv::Status asked = uv::write(write->request, stream(), piece, [](uv_write_t* request, int status) {
    auto* const connection = static_cast<Connection*>(request->handle->data);
    delete static_cast<Write*>(request->data);
    connection->written(status);
  });
  if (asked.ok()) return;
  delete write;
  writing_ = false;
  close();
}

void Connection::written(int status) {
  writing_ = false;
  if (uv_is_closing(reinterpret_cast<uv_handle_t*>(&handle_)) != 0) return;
  if (status < 0) return close();
  uv::start_reading(stream(), on_alloc, on_read);
  if (session_.closing()) finish();
}

// Closing a socket with unread octets in it resets the connection and takes our last reply away from
// the client: say that no more comes, then read until it closes (the server's sweep is the bound).
void Connection::finish() {
  lingering_ = true;
  auto* const request = new uv_shutdown_t;
  const int asked = uv_shutdown(request, stream(), [](uv_shutdown_t* done, int) { delete done; });
  if (asked == 0) return;
  delete request;
  close();
}

}  // namespace portcullis::sink
