#include "proxy/sink/sink.h"

#include <uv.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "proxy/net/uv_calls.h"
#include "proxy/sink/connection.h"

namespace portcullis::sink {
namespace {

namespace uv = net::uv;

constexpr std::size_t read_buffer_octets = std::size_t{256} * 1024;
constexpr std::size_t connections_max = 20000;
constexpr int backlog = 4096;
constexpr std::uint64_t sweep_ms = 2000;
constexpr std::uint64_t idle_ms = 300'000;  // RFC 5321 4.5.3.2.7: 5 minutes
constexpr std::uint64_t linger_ms = 2000;

smtp::Extensions offered_by(const SinkOptions& options) {
  using namespace smtp;
  return {.esmtp = true,
          .pipelining = true,
          .eight_bit_mime = true,
          .smtputf8 = true,
          .chunking = true,
          .dsn = true,
          .enhanced_status_codes = true,
          .size = options.max_octets,
          .xforward = x_name | x_addr | x_port | x_proto | x_helo | x_ident | x_source,
          .xclient = x_name | x_addr | x_port | x_proto | x_helo | x_login | x_destaddr | x_destport};
}

// Ids go on where the last run cannot have come to.
std::uint64_t first_id() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

template <typename Handle>
void close_and_delete(Handle* handle) {
  uv_close(reinterpret_cast<uv_handle_t*>(handle),
           [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
}

}  // namespace

struct Sink::Server {
  explicit Server(SinkOptions given) : options(std::move(given)) {}

  std::expected<void, std::string> open_store();
  std::expected<void, std::string> listen(uv_loop_t* loop);
  void accept();
  void sweep();
  void stop();

  SinkOptions options;
  Service service;
  std::optional<Maildir> maildir;
  std::vector<char> buffer = std::vector<char>(read_buffer_octets);
  std::unordered_set<Connection*> connections;
  uv_tcp_t* listener = nullptr;  // memory of handles belongs to uv_close
  uv_timer_t* sweeper = nullptr;
  std::uint16_t port = 0;
};

std::expected<void, std::string> Sink::Server::open_store() {
  service = {.hostname = options.hostname, .offered = offered_by(options), .next_id = first_id()};
  if (options.maildir.empty()) return {};
  auto opened = Maildir::open(options.maildir, options.sync);
  if (!opened) return std::unexpected(std::move(opened.error()));
  maildir = std::move(*opened);
  service.maildir = &*maildir;
  return {};
}

std::expected<void, std::string> Sink::Server::listen(uv_loop_t* loop) {
  sockaddr_storage address{};
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (uv_ip4_addr(options.address.c_str(), options.port, reinterpret_cast<sockaddr_in*>(&address)) != 0 &&
      uv_ip6_addr(options.address.c_str(), options.port, reinterpret_cast<sockaddr_in6*>(&address)) != 0) {
    return std::unexpected("not an address: " + options.address);
  }
  listener = new uv_tcp_t{};
  uv::init(*loop, *listener);
  listener->data = this;
  int status = uv_tcp_bind(listener, generic, 0);
  if (status == 0) {
    status = uv_listen(reinterpret_cast<uv_stream_t*>(listener), backlog, [](uv_stream_t* stream, int error) {
      if (error == 0) static_cast<Server*>(stream->data)->accept();
    });
  }
  if (status != 0) {
    return std::unexpected("cannot listen on " + options.address + " port " + std::to_string(options.port) +
                           ": " + uv_strerror(status));
  }
  int size = sizeof address;
  if (uv_tcp_getsockname(listener, generic, &size) != 0) return std::unexpected("the port is not known");
  port = ntohs(address.ss_family == AF_INET ? reinterpret_cast<sockaddr_in&>(address).sin_port
                                            : reinterpret_cast<sockaddr_in6&>(address).sin6_port);
  sweeper = new uv_timer_t{};
  uv::init(*loop, *sweeper);
  sweeper->data = this;
  uv::start(
      *sweeper, [](uv_timer_t* timer) { static_cast<Server*>(timer->data)->sweep(); }, sweep_ms, sweep_ms);
  return {};
}

void Sink::Server::accept() {
  Connection* const connection = Connection::accept(reinterpret_cast<uv_stream_t*>(listener), service, buffer,
                                                    [this](Connection* gone) { connections.erase(gone); });
  if (connection == nullptr) return;
  connections.insert(connection);
  if (connections.size() > connections_max) connection->close();
}

void Sink::Server::sweep() {
  const std::uint64_t now = uv_now(sweeper->loop);
  std::vector<Connection*> late;
  for (Connection* const connection : connections) {
    const std::uint64_t allowed = connection->lingering() ? linger_ms : idle_ms;
    if (now - connection->last_activity_ms() > allowed) late.push_back(connection);
  }
  for (Connection* const connection : late) connection->close();
}

void Sink::Server::stop() {
  if (listener != nullptr) close_and_delete(std::exchange(listener, nullptr));
  if (sweeper != nullptr) close_and_delete(std::exchange(sweeper, nullptr));
  while (!connections.empty()) (*connections.begin())->close();
}

Sink::Sink(SinkOptions options) : server_(std::make_unique<Server>(std::move(options))) {}
Sink::~Sink() { stop(); }

std::expected<void, std::string> Sink::start(uv_loop_t* loop) {
  auto done = server_->open_store();
  if (done) done = server_->listen(loop);
  if (!done) stop();
  return done;
}

void Sink::stop() { server_->stop(); }
std::uint16_t Sink::port() const { return server_->port; }
std::uint64_t Sink::messages() const { return server_->service.messages; }

int run_sink(const SinkOptions& options) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  uv_loop_t loop;
  if (uv_loop_init(&loop) != 0) return 1;
  Sink sink(options);
  const auto started = sink.start(&loop);
  std::array<uv_signal_t, 2> signals{};
  if (started) {
    const bool six = options.address.find(':') != std::string::npos;
    (void)std::printf("sink: listening on %s%s%s:%u, %s%s\n", six ? "[" : "", options.address.c_str(),
                      six ? "]" : "", unsigned{sink.port()},
                      options.maildir.empty() ? "discarding" : "storing in ", options.maildir.c_str());
    (void)std::fflush(stdout);
    // The handlers stay until the loop ends: they must not keep it alive.
    for (std::size_t i = 0; i < signals.size(); ++i) {
      uv::must(uv_signal_init(&loop, &signals[i]), "uv_signal_init");
      signals[i].data = &sink;
      uv_unref(reinterpret_cast<uv_handle_t*>(&signals[i]));
      const auto on_signal = [](uv_signal_t* handle, int) { static_cast<Sink*>(handle->data)->stop(); };
      uv::must(uv_signal_start(&signals[i], on_signal, i == 0 ? SIGINT : SIGTERM), "uv_signal_start");
    }
  } else {
    (void)std::fprintf(stderr, "sink: %s\n", started.error().c_str());
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  if (started) {
    for (uv_signal_t& handle : signals) uv_close(reinterpret_cast<uv_handle_t*>(&handle), nullptr);
    uv_run(&loop, UV_RUN_DEFAULT);
  }
  uv::close(loop);
  return started ? 0 : 1;
}

}  // namespace portcullis::sink
