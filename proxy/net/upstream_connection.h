// One connection to one upstream server: resolve, connect, TLS, opening; then a link that carries
// transactions. Its owner (a pool or the health probe) hears what happens and alone decides its end.
#pragma once

#include <netdb.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/config/config.h"
#include "proxy/net/handshake.h"
#include "proxy/net/secure_stream.h"
#include "proxy/net/tls_context.h"
#include "proxy/session/upstream_link.h"

namespace portcullis::net {

class ClientConnection;

class UpstreamConnection final : public SecureStream::Handler {
 public:
  class Owner {
   public:
    virtual void on_opened(UpstreamConnection& connection) noexcept = 0;
    virtual void on_answer(UpstreamConnection& connection) noexcept = 0;  // link().answer()
    virtual void on_lost(UpstreamConnection& connection) noexcept = 0;    // link().failure(); once
    virtual void on_handshake(const Handshake& handshake) noexcept = 0;   // to be counted
    virtual void on_writable(UpstreamConnection& connection) noexcept { (void)connection; }

   protected:
    ~Owner() = default;
  };

  struct Target {
    const config::Upstream* settings = nullptr;
    std::size_t server = 0;  // into settings->servers
    const ClientTls* tls = nullptr;
    bool use_tls = true;  // false: opportunistic TLS failed here a moment ago
    std::string helo;
    session::XClient xclient;
  };

  UpstreamConnection(LoopContext& context, Target target, Owner& owner);
  ~UpstreamConnection();

  void open();
  // `look_first`: no reply is owed, and whatever has come by the time the bytes leave answers nothing (law
  // 1). Should something be there then, they are not sent and the connection is lost.
  void write(const session::Output& bytes, bool look_first);
  // When the last commands were sent.
  std::int64_t burst_ms() const { return burst_ms_; }
  void fail(session::LinkFailure failure, std::string text);
  // To be asked every now and then: whether deadline_ms, or the time of the address under way, is over; then
  // out_of_time() fails the connection, or goes on to the next address.
  bool late() const;
  void out_of_time();
  void close();  // sends QUIT first where that makes sense
  void abort();  // at once
  session::UpstreamLink& link() { return link_; }
  std::size_t queued() const { return stream_.tcp().queued(); }
  const Target& target() const { return target_; }
  bool lost() const { return lost_; }
  bool opened() const { return link_.ready(); }
  bool tls_was_the_problem() const { return tls_failed_; }

  // For the owner's book-keeping.
  ClientConnection* client = nullptr;  // in whose transaction it is
  ClientConnection* bound = nullptr;   // to whom alone it may be given: it was told of that client
  bool idle = false;
  std::int64_t opened_at_ms = 0;
  std::int64_t idle_since_ms = 0;
  std::int64_t deadline_ms = 0;  // of the opening, or of the replies still owed when detached
  std::uint32_t transactions = 0;

 private:
  struct Resolve;
  void on_connected(int status) noexcept override;
  void on_plain(std::string_view bytes) noexcept override;
  void on_tls_established() noexcept override;
  void on_tls_failed(const std::string& error) noexcept override;
  void on_end(bool reset) noexcept override;
  void on_flushed() noexcept override;
  bool on_sending() noexcept override;
  void connect(const sockaddr* address);
  void connect_to_next();
  std::int64_t share_of_time() const;
  void start_tls();
  void flush();

  LoopContext& context_;
  Target target_;
  Owner& owner_;
  SecureStream stream_;
  session::UpstreamLink link_;
  session::Output out_;
  Resolve* resolve_ = nullptr;
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses_{nullptr, uv_freeaddrinfo};
  const addrinfo* next_address_ = nullptr;  // of addresses_, to be tried when this one fails
  std::int64_t address_deadline_ms_ = 0;    // 0: none, as there is no other address
  std::int64_t burst_ms_ = 0;
  std::int64_t handshake_started_ms_ = 0;
  bool look_first_ = false;  // before what is written is sent
  bool lost_ = false;
  bool tls_failed_ = false;
};

}  // namespace portcullis::net
