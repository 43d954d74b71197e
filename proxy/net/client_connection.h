// The driver of one session: hands it the client's bytes and the upstream's answers, and carries out
// its effects. It decides nothing about mail.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/net/secure_stream.h"
#include "proxy/net/snapshot.h"
#include "proxy/net/upstream_borrower.h"
#include "proxy/session/session.h"

namespace portcullis::net {

class UpstreamPool;
class Worker;
struct Generation;

// Octets held for sessions, by where they wait.
struct Buffered {
  std::size_t client_output = 0;    // for the client to take
  std::size_t upstream_output = 0;  // for the upstream to take
  std::size_t session = 0;          // undecided: input, header, content before the 354
};

class ClientConnection final : public SecureStream::Handler, public UpstreamBorrower {
 public:
  ClientConnection(Worker& worker, std::shared_ptr<Generation> generation, std::size_t listener);
  ~ClientConnection();

  bool accept(int fd, const sockaddr_storage& peer);  // closes fd when that fails
  const policy::IpAddress& address() const { return address_; }
  void start(std::string id);
  // Reads the PROXY header first; Worker::admit follows.
  void await_proxy_header();
  // Refuses before a session exists: one cheap 421 (nothing at all where TLS is expected first).
  void turn_away(std::string_view reply);

  void on_upstream_granted(UpstreamConnection& connection) override;
  void on_upstream_denied(session::LinkFailure failure, const std::string& text) override;
  void on_upstream_answer(UpstreamConnection& connection) override;
  void on_upstream_lost(UpstreamConnection& connection, session::LinkFailure failure,
                        const std::string& text) override;
  // The server has not replied for some time, and another one is there; `hung`: nor does it to the probe.
  void on_upstream_silent(UpstreamConnection& connection, bool hung) override;
  void on_upstream_writable() override;
  void on_upstream_wanted(UpstreamConnection& connection, bool end) override;
  void on_auth(std::uint32_t attempt, auth::Outcome outcome);
  void drain();
  void next_turn();
  void sweep(std::int64_t mono_ms);
  void add_buffered(Buffered& sum) const;
  // The drain's deadline has passed. at_once: nothing is waited for any more.
  void kill(bool at_once);

  session::XClient xclient() const override { return session_->xclient(); }
  PartyKey party() const override;
  session::UpstreamHold upstream_hold() const override { return session_->upstream_hold(); }
  bool dead() const { return dead_; }
  const std::string& listener_name() const { return listener_.settings.name; }
  std::uint16_t listener_label() const { return listener_.label; }
  const std::shared_ptr<Generation>& generation() const { return generation_; }
  // Of the places for connections (listener_places.h), as a client of its network. False: no more for that.
  bool take_share();
  void leave_place();
  std::size_t index = 0;        // in the worker's table
  bool waits_for_turn = false;  // in the worker's list
  bool owes_close = false;      // to the ConnectionCounter
  bool holds_place = false;     // among its listener's connections

 private:
  void on_plain(std::string_view bytes) noexcept override;
  void on_tls_established() noexcept override;
  void on_tls_failed(const std::string& error) noexcept override;
  void on_end(bool reset) noexcept override;
  void on_flushed() noexcept override;
  void proxy_header(std::string_view bytes);
  void probed();
  void proxy_header_failed(metrics::ProxyVersion version, metrics::ProxyResult result);
  void perform();
  void carry_out_upstream();
  void carry_out_client();
  void start_tls();
  void authenticate(auth::Request request);
  void wake_after(std::uint32_t delay_ms);
  void update_reading();
  void finish();
  void discard(std::size_t octets);
  void close_now();
  policy::IpNetwork network() const;
  session::Now now();
  UpstreamPool& pool();

  Worker& worker_;
  std::shared_ptr<Generation> generation_;
  const session::ListenerFacts& listener_;
  SecureStream stream_;
  std::unique_ptr<session::Session> session_;
  UpstreamConnection* upstream_ = nullptr;
  // Granted at once: the session must hear of it, but not inside its own event.
  UpstreamConnection* granted_ = nullptr;
  policy::IpAddress address_;
  std::uint16_t port_ = 0;
  std::string via_;                      // the balancer that named the client
  bool tls_ends_at_balancer_ = false;    // the client's; a handshake here is the balancer's own
  std::string header_bytes_;             // of its PROXY header so far
  std::int64_t header_deadline_ms_ = 0;  // 0: none is awaited
  std::int64_t linger_until_ms_ = 0;
  std::size_t discarded_octets_ = 0;  // since the session is over
  std::int64_t handshake_started_ms_ = 0;
  std::shared_ptr<ClientConnection*> token_;  // for answers from other threads and timers
  bool counted_ = false;
  bool holds_share_ = false;  // of the places
  bool closing_ = false;      // the session is over; what is queued goes out first
  bool shut_ = false;         // our side of the connection is closed
  bool dead_ = false;
};

}  // namespace portcullis::net
