// Health probe: connects to every server of every upstream at its interval, goes through greeting, EHLO,
// TLS and AUTH as a session's connection would, notes what it offers, and sends QUIT. A server that a pool
// suspects is probed at once, and more often until it is well again.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/snapshot.h"
#include "proxy/net/upstream_connection.h"

namespace portcullis::net {

class Prober final : public UpstreamConnection::Owner {
 public:
  enum class Change : std::uint8_t {
    up,           // the probe succeeded
    down,         // the probe failed
    passed_over,  // the server does not reply, or slowly: others are preferred
    preferred,    // it replies as it should again
  };
  using Changed =
      std::function<void(const config::Upstream&, const config::Server&, Change, const std::string&)>;
  Prober(LoopContext& context, Changed changed);
  ~Prober();
  void use(std::shared_ptr<const Snapshot> snapshot);  // from now on; probes everything at once
  void tick();                                         // about every 100 ms
  // Every server has been asked at least once since use().
  bool first_round_done() const;

 private:
  void on_opened(UpstreamConnection& connection) noexcept override;
  void on_answer(UpstreamConnection&) noexcept override {}
  void on_lost(UpstreamConnection& connection) noexcept override;
  void on_handshake(const Handshake& handshake) noexcept override;
  struct Probe {
    std::size_t upstream = 0;
    std::size_t server = 0;
    std::int64_t due_ms = 0;
    std::int64_t started_ms = 0;
    bool passed_over = false;  // when it was last looked at
    bool asked = false;
    bool clear_text = false;  // opportunistic TLS failed last time
    std::unique_ptr<UpstreamConnection> connection;
  };
  Probe& probe_of(const UpstreamConnection& connection);
  void report(Probe& probe, bool up, const std::string& text);
  void start(Probe& probe);
  void look_at(Probe& probe);
  void look_at_standing(Probe& probe, const std::string& text);
  std::int64_t now() const { return static_cast<std::int64_t>(uv_now(context_.loop)); }

  LoopContext& context_;
  Changed changed_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::vector<Probe> probes_;
  std::vector<std::unique_ptr<UpstreamConnection>> dead_;
};

}  // namespace portcullis::net
