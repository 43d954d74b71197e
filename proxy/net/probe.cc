#include "proxy/net/probe.h"

#include <csignal>
#include <memory>
#include <optional>

#include "proxy/net/upstream_connection.h"
#include "proxy/net/upstream_demands.h"
#include "proxy/net/uv_calls.h"

namespace portcullis::net {

namespace {

constexpr std::size_t buffer_octets = 64 * 1024;
constexpr std::uint64_t clock_ms = 250;

std::string offered(const smtp::Extensions& extensions) {
  std::string text;
  const auto add = [&](bool there, const char* name) {
    if (there) text += std::string(" ") + name;
  };
  add(extensions.pipelining, "PIPELINING");
  add(extensions.size.has_value(), "SIZE");
  add(extensions.eight_bit_mime, "8BITMIME");
  add(extensions.smtputf8, "SMTPUTF8");
  add(extensions.chunking, "CHUNKING");
  add(extensions.dsn, "DSN");
  add(extensions.enhanced_status_codes, "ENHANCEDSTATUSCODES");
  add(extensions.starttls, "STARTTLS");
  add(extensions.xforward != 0, "XFORWARD");
  add(extensions.xclient != 0, "XCLIENT");
  return text.empty() ? " nothing" : text;
}

// A loop of its own for one connection.
class OneProbe final : public UpstreamConnection::Owner {
 public:
  UpstreamProbeLine ask(const config::Config& config, const config::Upstream& upstream, std::size_t server) {
    const std::string name = "upstream " + upstream.name + ' ' + upstream.servers[server].host + ':' +
                             std::to_string(upstream.servers[server].port) + ": ";
    const auto tls = ClientTls::make(upstream);
    if (!tls) return {false, name + tls.error()};
    std::vector<char> read_buffer(buffer_octets);
    std::vector<char> plain_buffer(buffer_octets);
    uv_loop_t loop{};
    if (const uv::Status made = uv::init(loop); !made.ok()) return {false, name + made.text()};
    LoopContext context{&loop, read_buffer, plain_buffer};
    context.turn_end.start(loop);
    uv_timer_t timer{};
    timer.data = this;
    uv::init(loop, timer);
    {
      UpstreamConnection connection(
          context,
          {&upstream, server, tls->get(), true, upstream.helo.empty() ? config.hostname : upstream.helo, {}},
          *this);
      connection_ = &connection;
      connection.deadline_ms =
          static_cast<std::int64_t>(uv_now(&loop)) + std::int64_t{upstream.connect_timeout_seconds} * 1000;
      uv::start(
          timer,
          [](uv_timer_t* handle) {
            static_cast<OneProbe*>(handle->data)
                ->look_at_clock(static_cast<std::int64_t>(uv_now(handle->loop)));
          },
          clock_ms, clock_ms);
      connection.open();
      while (!line_) uv_run(&loop, UV_RUN_ONCE);
      connection_ = nullptr;
    }
    uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);  // NOLINT: libuv's inheritance
    context.turn_end.close();
    uv_run(&loop, UV_RUN_DEFAULT);
    uv::close(loop);
    return {line_->ok, name + line_->text};
  }

 private:
  void look_at_clock(std::int64_t now_ms) {
    if (!line_ && connection_->due(now_ms)) connection_->attend(now_ms);
  }
  void on_opened(UpstreamConnection& connection) noexcept override {
    line_ = {true, ready_text(connection) + "; offers" + offered(connection.link().extensions())};
    connection.close();
  }
  void on_answer(UpstreamConnection&) noexcept override {}
  void on_handshake(const Handshake&) noexcept override {}
  void on_lost(UpstreamConnection& connection) noexcept override {
    line_ = {false, std::string(session::name_of(connection.link().failure())) + ": " +
                        connection.link().failure_text()};
  }

  UpstreamConnection* connection_ = nullptr;
  std::optional<UpstreamProbeLine> line_;
};

}  // namespace

std::vector<UpstreamProbeLine> probe_upstreams(const config::Config& config) {
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT: a peer that goes away is an error code
  std::vector<UpstreamProbeLine> lines;
  for (const config::Upstream& upstream : config.upstreams) {
    for (std::size_t server = 0; server < upstream.servers.size(); ++server) {
      lines.push_back(OneProbe().ask(config, upstream, server));
    }
  }
  return lines;
}

}  // namespace portcullis::net
