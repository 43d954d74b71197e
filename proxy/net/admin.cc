#include "proxy/net/admin.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "proxy/net/acceptor.h"
#include "proxy/net/sockets.h"
#include "proxy/net/uv_calls.h"

namespace portcullis::net {
namespace {

constexpr std::size_t read_octets = 16 * 1024;
constexpr std::size_t linger_octets_max = 256 * 1024;
constexpr std::uint64_t linger_milliseconds = 2000;
// 200 and `good`, or 503 and the reasons.
void report(metrics::HttpResponse& response, const std::vector<std::string>& reasons, std::string_view good) {
  for (const std::string& reason : reasons) response.body += reason + '\n';
  response.status = response.body.empty() ? 200 : 503;
  if (response.body.empty()) response.body = good;
}

}  // namespace

metrics::HttpHandler admin_routes(metrics::Exporter& exporter, Conditions conditions) {
  return [&exporter, conditions = std::move(conditions)](const metrics::HttpRequest& request) {
    metrics::HttpResponse response;
    if (request.path == "/metrics") {
      response.route = metrics::Route::metrics;
      response.content_type = metrics::Exporter::content_type;
      response.body = exporter.text();
    } else if (request.path == "/healthz") {
      response.route = metrics::Route::healthz;
      report(response, conditions.health(), "ok\n");
    } else if (request.path == "/readyz") {
      response.route = metrics::Route::readyz;
      report(response, conditions.readiness(), "ready\n");
    } else {
      response.status = 404;
      response.body = "Not here. There are /metrics, /healthz and /readyz.\n";
    }
    return response;
  };
}

// Kept alive by the server and by every connection that is not closed yet.
struct AdminServer::State final : Acceptor::Host, std::enable_shared_from_this<State> {
  void on_accepted(Acceptor&, int fd, const sockaddr_storage& peer) noexcept override;
  // Other parts of the process record that, and who scrapes tries again.
  void on_accept_pause(Acceptor&, int) noexcept override {}
  void make_room();

  uv_loop_t* loop = nullptr;
  metrics::HttpHandler handler;
  AdminObserver observer;
  std::size_t connections_max = 0;
  std::uint64_t timeout_milliseconds = 0;
  std::vector<std::unique_ptr<Acceptor>> acceptors;
  std::unordered_set<Connection*> connections;
  std::uint64_t turns = 0;                      // counts what Connection::since orders
  std::array<char, read_octets> read_buffer{};  // one for all: what is left over is copied out
  bool closed = false;
};

struct AdminServer::Connection {
  explicit Connection(std::shared_ptr<State> s) : state(std::move(s)), http(state->handler) {}

  void start(int fd);
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
  std::uint64_t since = 0;  // when its client was waited for anew, in State::turns
  std::size_t discarded = 0;
  bool writing = false;
  bool lingering = false;
  bool closing = false;
};

void AdminServer::State::on_accepted(Acceptor&, int fd, const sockaddr_storage&) noexcept {
  if (connections.size() >= connections_max) make_room();
  auto* connection = new Connection(shared_from_this());
  uv::init(*loop, connection->tcp);
  uv::init(*loop, connection->timer);
  connection->tcp.data = connection->timer.data = connection;
  connections.insert(connection);
  connection->start(fd);
}

void AdminServer::State::make_room() {
  const auto order = [](const Connection* c) { return std::pair(c->writing, c->since); };
  const auto longest =
      std::min_element(connections.begin(), connections.end(),
                       [&](const Connection* a, const Connection* b) { return order(a) < order(b); });
  (*longest)->close();
}

void AdminServer::Connection::start(int fd) {
  since = ++state->turns;
  if (!uv::open(tcp, fd).ok()) {
    ::close(fd);
    return close();
  }
  restart_timer(state->timeout_milliseconds);
  read();
}

// The whole request, from its first octet to the end of its response, has one deadline: trickling
// octets does not extend it.
void AdminServer::Connection::restart_timer(std::uint64_t milliseconds) {
  uv::start(timer, [](uv_timer_t* fired) noexcept { of(fired).close(); }, milliseconds, 0);
}

void AdminServer::Connection::read() {
  uv::start_reading(
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
  uv::stop_reading(stream());
  since = ++state->turns;
  const uv::Status queued =
      uv::write(write_request, stream(), buffer, [](uv_write_t* request, int status) noexcept {
        Connection& self = of(request->handle);
        self.writing = false;
        if (self.closing) return;
        if (status < 0) return self.close();
        self.read();
        self.sent();
        self.answer();
      });
  if (!queued.ok()) close();
}

void AdminServer::Connection::sent() {
  since = ++state->turns;
  output.clear();
  if (http.closing()) return linger();
  restart_timer(state->timeout_milliseconds);
}

// A close with unread input makes the kernel send RST, which can overtake the response: the sending
// half ends first, and for a moment what still arrives is thrown away.
void AdminServer::Connection::linger() {
  lingering = true;
  restart_timer(linger_milliseconds);
  if (!uv::shutdown(shutdown_request, stream(), [](uv_shutdown_t*, int) noexcept {}).ok()) close();
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
    const int fd = bound(socket, false);
    auto acceptor =
        fd < 0 ? std::unexpected(std::string(std::strerror(errno))) : Acceptor::listen(loop, fd, *state);
    if (!acceptor)
      return std::unexpected(
          fmt::format("admin: can not listen on port {}: {}", socket.port, acceptor.error()));
    state->acceptors.push_back(std::move(*acceptor));
  }
  return server;
}

AdminServer::AdminServer(std::shared_ptr<State> state) : state_(std::move(state)) {}

AdminServer::~AdminServer() { close(); }

void AdminServer::close() {
  if (std::exchange(state_->closed, true)) return;
  state_->acceptors.clear();
  const std::vector<Connection*> open(state_->connections.begin(), state_->connections.end());
  for (Connection* connection : open) connection->close();
}

std::vector<std::uint16_t> AdminServer::ports() const {
  std::vector<std::uint16_t> ports;
  for (const auto& acceptor : state_->acceptors) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    const int named = getsockname(acceptor->descriptor(), reinterpret_cast<sockaddr*>(&storage), &size);
    // sin_port and sin6_port are at the same place.
    ports.push_back(named == 0 ? ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port) : 0);
  }
  return ports;
}

}  // namespace portcullis::net
