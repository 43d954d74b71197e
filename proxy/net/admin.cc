#include "proxy/net/admin.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <array>
#include <cstring>
#include <unordered_set>
#include <utility>

namespace portcullis::net {
namespace {

constexpr std::size_t read_octets = 16 * 1024;
constexpr std::size_t linger_octets_max = 256 * 1024;
constexpr std::uint64_t linger_milliseconds = 2000;
constexpr int backlog = 64;

sockaddr_storage socket_address(const config::Socket& socket) {
  sockaddr_storage storage{};
  const auto& octets = socket.address.octets;
  if (socket.address.v6) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(socket.port);
    std::memcpy(&address.sin6_addr, octets.data(), 16);
    std::memcpy(&storage, &address, sizeof address);
  } else {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(socket.port);
    std::memcpy(&address.sin_addr, octets.data(), 4);
    std::memcpy(&storage, &address, sizeof address);
  }
  return storage;
}

}  // namespace

metrics::HttpHandler admin_routes(metrics::Exporter& exporter, Readiness readiness) {
  return [&exporter, readiness = std::move(readiness)](const metrics::HttpRequest& request) {
    metrics::HttpResponse response;
    if (request.path == "/metrics") {
      response.route = metrics::Route::metrics;
      response.content_type = metrics::Exporter::content_type;
      response.body = exporter.text();
    } else if (request.path == "/healthz") {
      response.route = metrics::Route::healthz;
      response.body = "ok\n";
    } else if (request.path == "/readyz") {
      response.route = metrics::Route::readyz;
      for (const std::string& reason : readiness()) response.body += reason + '\n';
      response.status = response.body.empty() ? 200 : 503;
      if (response.body.empty()) response.body = "ready\n";
    } else {
      response.status = 404;
      response.body = "Not here. There are /metrics, /healthz and /readyz.\n";
    }
    return response;
  };
}

// Kept alive by the server and by every handle that is not closed yet.
struct AdminServer::State {
  uv_loop_t* loop = nullptr;
  metrics::HttpHandler handler;
  AdminObserver observer;
  std::size_t connections_max = 0;
  std::uint64_t timeout_milliseconds = 0;
  std::vector<Listener*> listeners;
  std::unordered_set<Connection*> connections;
  std::array<char, read_octets> read_buffer{};  // one for all: what is left over is copied out
  bool closed = false;
};

struct AdminServer::Listener {
  uv_tcp_t handle{};
  std::shared_ptr<State> state;

  static void on_connection(uv_stream_t* stream, int status) noexcept;
  void close() {
    uv_close(reinterpret_cast<uv_handle_t*>(&handle),
             [](uv_handle_t* closed) noexcept { delete static_cast<Listener*>(closed->data); });
  }
};

struct AdminServer::Connection {
  explicit Connection(std::shared_ptr<State> s) : state(std::move(s)), http(state->handler) {}

  void start();
  void read();
  void answer();
  void sent();
  void linger();
  void close();
  void received(ssize_t count, const char* bytes);
  void restart_timer(std::uint64_t milliseconds);
  static void on_closed(uv_handle_t* handle) noexcept;
  static Connection& of(void* handle) {
    return *static_cast<Connection*>(static_cast<uv_handle_t*>(handle)->data);
  }
  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&tcp); }

  std::shared_ptr<State> state;
  metrics::HttpConnection http;
  uv_tcp_t tcp{};
  uv_timer_t timer{};
  uv_write_t write_request{};
  uv_shutdown_t shutdown_request{};
  std::string input;   // received, not yet parsed: at most one read
  std::string output;  // on its way
  int open_handles = 2;
  std::size_t discarded = 0;
  bool writing = false;
  bool lingering = false;
  bool closing = false;
};

void AdminServer::Listener::on_connection(uv_stream_t* stream, int status) noexcept {
  if (status < 0) return;
  const auto& state = static_cast<Listener*>(stream->data)->state;
  auto* connection = new Connection(state);
  uv_tcp_init(state->loop, &connection->tcp);
  uv_timer_init(state->loop, &connection->timer);
  connection->tcp.data = connection->timer.data = connection;
  state->connections.insert(connection);
  // One too many is taken and dropped: left in the backlog it would wait and be served too late.
  const bool taken = uv_accept(stream, connection->stream()) == 0;
  if (!taken || state->connections.size() > state->connections_max) return connection->close();
  connection->start();
}

void AdminServer::Connection::start() {
  uv_tcp_nodelay(&tcp, 1);
  restart_timer(state->timeout_milliseconds);
  read();
}

// The whole request, from its first octet to the end of its response, has one deadline: trickling
// octets does not extend it.
void AdminServer::Connection::restart_timer(std::uint64_t milliseconds) {
  uv_timer_start(&timer, [](uv_timer_t* fired) noexcept { of(fired).close(); }, milliseconds, 0);
}

void AdminServer::Connection::read() {
  uv_read_start(
      stream(),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) noexcept {
        auto& memory = of(handle).state->read_buffer;
        *buffer = uv_buf_init(memory.data(), static_cast<unsigned>(memory.size()));
      },
      [](uv_stream_t* from, ssize_t count, const uv_buf_t* buffer) noexcept {
        of(from).received(count, buffer->base);
      });
}

void AdminServer::Connection::received(ssize_t count, const char* bytes) {
  if (count == 0) return;  // EAGAIN
  if (count < 0) return close();
  const auto octets = static_cast<std::size_t>(count);
  if (lingering) {
    discarded += octets;
    if (discarded > linger_octets_max) close();
    return;
  }
  input.append(bytes, octets);
  answer();
}

// One response a turn of the loop, even where the socket takes more: who asks for a thousand at once must not
// keep signals and the watchdog waiting meanwhile.
void AdminServer::Connection::answer() {
  if (input.empty() || writing || lingering || closing) return;
  const auto fed = http.feed(input, output);
  input.erase(0, fed.consumed);
  if (fed.status == 0) return;
  if (state->observer) state->observer(fed.route, fed.status);
  const uv_buf_t buffer = uv_buf_init(output.data(), static_cast<unsigned>(output.size()));
  writing = true;
  uv_read_stop(stream());
  const int queued =
      uv_write(&write_request, stream(), &buffer, 1, [](uv_write_t* request, int status) noexcept {
        Connection& self = of(request->handle);
        self.writing = false;
        if (self.closing) return;
        if (status < 0) return self.close();
        self.read();
        self.sent();
        self.answer();
      });
  if (queued != 0) close();
}

void AdminServer::Connection::sent() {
  output.clear();
  if (http.closing()) return linger();
  restart_timer(state->timeout_milliseconds);
}

// A close with unread input makes the kernel send RST, which can overtake the response: the sending
// half ends first, and for a moment what still arrives is thrown away.
void AdminServer::Connection::linger() {
  lingering = true;
  restart_timer(linger_milliseconds);
  const int queued = uv_shutdown(&shutdown_request, stream(), [](uv_shutdown_t*, int) noexcept {});
  if (queued != 0) close();
}

void AdminServer::Connection::close() {
  if (std::exchange(closing, true)) return;
  state->connections.erase(this);
  uv_close(reinterpret_cast<uv_handle_t*>(&tcp), on_closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer), on_closed);
}

void AdminServer::Connection::on_closed(uv_handle_t* handle) noexcept {
  Connection& self = of(handle);
  if (--self.open_handles == 0) delete &self;
}

std::expected<std::unique_ptr<AdminServer>, std::string> AdminServer::listen(uv_loop_t& loop,
                                                                             const config::Admin& admin,
                                                                             metrics::HttpHandler handler,
                                                                             AdminObserver observer) {
  auto state = std::make_shared<State>();
  state->loop = &loop;
  state->handler = std::move(handler);
  state->observer = std::move(observer);
  state->connections_max = admin.connections;
  state->timeout_milliseconds = std::uint64_t{admin.timeout_seconds} * 1000;
  std::unique_ptr<AdminServer> server(new AdminServer(state));  // closes what is open on failure
  for (const config::Socket& socket : admin.sockets) {
    auto* listener = new Listener;
    listener->state = state;
    uv_tcp_init(&loop, &listener->handle);
    listener->handle.data = listener;
    state->listeners.push_back(listener);
    const sockaddr_storage address = socket_address(socket);
    const unsigned flags = socket.address.v6 ? UV_TCP_IPV6ONLY : 0;
    int error = uv_tcp_bind(&listener->handle, reinterpret_cast<const sockaddr*>(&address), flags);
    if (error == 0)
      error = uv_listen(reinterpret_cast<uv_stream_t*>(&listener->handle), backlog, Listener::on_connection);
    if (error != 0)
      return std::unexpected(
          fmt::format("admin: can not listen on port {}: {}", socket.port, uv_strerror(error)));
  }
  return server;
}

AdminServer::AdminServer(std::shared_ptr<State> state) : state_(std::move(state)) {}

AdminServer::~AdminServer() { close(); }

void AdminServer::close() {
  if (std::exchange(state_->closed, true)) return;
  for (Listener* listener : std::exchange(state_->listeners, {})) listener->close();
  const std::vector<Connection*> open(state_->connections.begin(), state_->connections.end());
  for (Connection* connection : open) connection->close();
}

std::vector<std::uint16_t> AdminServer::ports() const {
  std::vector<std::uint16_t> ports;
  for (const Listener* listener : state_->listeners) {
    sockaddr_storage storage{};
    int size = sizeof storage;
    uv_tcp_getsockname(&listener->handle, reinterpret_cast<sockaddr*>(&storage), &size);
    // sin_port and sin6_port are at the same place.
    ports.push_back(ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port));
  }
  return ports;
}

}  // namespace portcullis::net
