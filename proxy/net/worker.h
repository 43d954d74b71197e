// One thread, one loop: its share of every listening socket, its sessions, its pools. Nothing here is
// touched by another thread but the mailbox (post).
#pragma once

#include <uv.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/net/acceptor.h"
#include "proxy/net/client_connection.h"
#include "proxy/net/mailbox.h"
#include "proxy/net/snapshot.h"
#include "proxy/net/upstream_pool.h"
#include "proxy/net/uv_calls.h"
#include "proxy/session/effects.h"

namespace portcullis::net {

// A snapshot as one worker uses it. Ends with its last session.
struct Generation {
  std::shared_ptr<const Snapshot> snapshot;
  session::Environment environment;
  std::vector<std::unique_ptr<UpstreamPool>> pools;  // by upstream
  std::size_t sessions = 0;
};

// A listening socket for one worker; owned by whoever holds it until the worker takes it.
struct BoundSocket {
  int fd = -1;
  std::size_t listener = 0;  // into Config::listeners
  std::string key;           // "address:port" or the systemd name: the same key is the same socket
};

class Worker final : public PoolHost {
 public:
  Worker(std::size_t index, const std::shared_ptr<const Snapshot>& snapshot);
  ~Worker();  // stops and joins
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Starts the thread; takes the sockets. The error is a sentence: descriptors or threads have run out.
  std::expected<void, std::string> run(const std::vector<BoundSocket>& sockets);

  // Any thread. A task posted by the worker itself runs when the event under way is over, and costs no
  // wake-up.
  void post(std::function<void()> task) { mailbox_->post(std::move(task)); }
  // For those who may outlive the worker.
  const std::shared_ptr<Mailbox>& mailbox() const { return mailbox_; }
  // New sessions use `snapshot`; `sockets` are those not listened on yet, `keys` all that remain.
  void reload(std::shared_ptr<const Snapshot> snapshot, std::vector<BoundSocket> sockets,
              std::vector<std::pair<std::string, std::size_t>> keys);
  void drain();          // stop accepting, let sessions end
  void kill_sessions();  // the drain's deadline
  void stop();
  std::size_t sessions() const { return session_count_.load(std::memory_order_relaxed); }
  // How long ago the loop turned last (it does four times a second), by uv_hrtime().
  std::chrono::nanoseconds since_last_turn() const;

  // The worker's own thread.
  LoopContext& context() { return context_; }
  session::Effects& effects() { return effects_; }
  metrics::Shard& shard() { return shard_; }
  std::int64_t mono_ms() const override { return static_cast<std::int64_t>(uv_now(&loop_)); }
  // Both clocks as of when the loop last polled: a message is a dozen events, and each would ask.
  session::Now now();
  // `connection` has more to do than one turn of the loop allows: it goes on in the next one, when others
  // have had theirs.
  void next_turn(ClientConnection& connection);
  void bury(ClientConnection& connection);
  // Where its client is known: limits by network, then the session.
  void admit(ClientConnection& connection);
  // Unless the worker stops before.
  void call_after(std::uint32_t delay_ms, std::function<void()> task);
  void settle();  // grants and denials that came up during the event
  void upstream_trouble(const session::ListenerFacts& listener, const std::string& session,
                        session::LinkFailure failure, const std::string& text);
  void proxy_trouble(const session::ListenerFacts& listener, const policy::IpAddress& peer,
                     metrics::ProxyResult result);
  void tls_trouble(const session::ListenerFacts& listener, const std::string& session,
                   const policy::IpAddress& client, const std::string& text);

 private:
  struct Listening;
  struct Delay;
  void thread();
  void close_all();
  std::expected<void, std::string> listen(const BoundSocket& socket);
  void on_connection(std::size_t listener, int fd, const sockaddr_storage& peer);
  void on_accept_pause(std::size_t listener, int error);
  void accept_trouble(const std::string& listener, std::string_view cause, std::string text);
  void kill_all(bool at_once);
  void refuse(ClientConnection& connection, metrics::ConnectionReject reason, std::string_view text);
  void sweep();
  void take_turns();
  void tell_buffered(const Buffered& held);
  void bury_all();
  std::shared_ptr<Generation> make_generation(const std::shared_ptr<const Snapshot>& snapshot);
  std::string next_id();

  void grant_later(UpstreamBorrower& client, UpstreamConnection& connection) override;
  void deny_later(UpstreamBorrower& client, session::LinkFailure failure, std::string text) override;
  void want_back_later(UpstreamBorrower& client, UpstreamConnection& connection, bool end) override;
  void bury(std::unique_ptr<UpstreamConnection> connection) override;

  static constexpr std::size_t buffer_octets = 64 * 1024;

  const std::size_t index_;
  uv_loop_t loop_{};
  bool has_loop_ = false;
  uv::Status ready_ = 0;  // why it can not run
  uv_async_t async_{};
  uv_timer_t sweep_timer_{};
  uv_check_t check_{};
  uv_idle_t idle_{};  // while somebody waits for the next turn: the poll then waits for nothing
  std::vector<char> read_buffer_;
  std::vector<char> plain_buffer_;
  LoopContext context_;
  session::Effects effects_;
  smtp::Slices content_, staged_, framed_;
  metrics::Shard& shard_;
  std::shared_ptr<const session::Policies> in_force_;  // what sessions of every generation follow
  std::shared_ptr<Generation> generation_;
  std::vector<std::shared_ptr<Generation>> retired_;
  std::vector<std::unique_ptr<Listening>> listening_;
  std::vector<std::unique_ptr<ClientConnection>> connections_;
  std::vector<ClientConnection*> turns_;  // who goes on in the next turn; null: gone meanwhile
  std::vector<std::unique_ptr<ClientConnection>> dead_connections_;
  std::vector<std::unique_ptr<UpstreamConnection>> dead_upstreams_;
  struct Delivery {
    enum class Kind : std::uint8_t { grant, deny, want_back, end_use } kind;
    UpstreamBorrower* client;
    UpstreamConnection* connection;  // null: denied
    session::LinkFailure failure;
    std::string text;
  };
  static void deliver(const Delivery& delivery);
  std::vector<Delivery> deliveries_;
  std::vector<Delay*> delays_;  // each owned by its timer
  std::atomic<std::size_t> session_count_{0};
  std::atomic<std::uint64_t> last_turn_ns_{0};
  Buffered told_;  // what the metrics say
  session::Now now_;
  std::int64_t sweep_due_ms_ = 0;
  std::uint64_t sequence_ = 0;
  bool draining_ = false;
  // What this thread posts itself runs when the event is over.
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>(async_);
  std::thread thread_;
};

}  // namespace portcullis::net
