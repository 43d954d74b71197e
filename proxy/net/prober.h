// Health probe: connects to every server of every upstream at its interval, goes through greeting, EHLO,
// TLS and AUTH as a session's connection would, notes what it offers, and says QUIT.
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
  // `changed`: a server went up or down (upstream, server, up, text).
  using Changed =
      std::function<void(const config::Upstream&, const config::Server&, bool up, const std::string&)>;
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
    bool asked = false;
    bool clear_text = false;  // opportunistic TLS failed last time
    std::unique_ptr<UpstreamConnection> connection;
  };
  Probe& probe_of(const UpstreamConnection& connection);
  void report(Probe& probe, bool up, const std::string& text);
  void start(Probe& probe);

  LoopContext& context_;
  Changed changed_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::vector<Probe> probes_;
  std::vector<std::unique_ptr<UpstreamConnection>> dead_;
};

}  // namespace portcullis::net
