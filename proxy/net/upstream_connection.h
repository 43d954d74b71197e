// One connection to one upstream server: address, connect, TLS, opening; then a link that carries
// transactions. Its owner (a pool or the health probe) hears what happens and alone decides its end.
// Every address of a name is tried (RFC 5321 section 5.1); an address that accepts the connection and sends
// no greeting counts as one that does not answer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/dns/address_book.h"
#include "proxy/net/handshake.h"
#include "proxy/net/secure_stream.h"
#include "proxy/net/tls_context.h"
#include "proxy/net/upstream_shares.h"
#include "proxy/session/upstream_link.h"

namespace portcullis::net {

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
    dns::AddressBook* addresses = &dns::addresses();
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
  // To be asked every now and then: whether there is an address now, or deadline_ms or the time of the
  // address under way is over; then attend() goes on, or fails the connection. `now_ms` is of the owner's
  // clock, by which it has set deadline_ms.
  bool due(std::int64_t now_ms) const;
  void attend(std::int64_t now_ms);
  void close();  // sends QUIT first where that makes sense
  void abort();  // at once
  session::UpstreamLink& link() { return link_; }
  const session::UpstreamLink& link() const { return link_; }
  std::size_t queued() const { return stream_.tcp().queued(); }
  const Target& target() const { return target_; }
  bool lost() const { return lost_; }
  // How long the server has owed a reply, or the connection has been opening without progress; 0: neither.
  std::int64_t silent_ms() const;
  // The longest time that a reply took while the connection was opened.
  std::int64_t slowest_ms() const { return slowest_ms_; }
  // How long the last reply took.
  std::int64_t took_ms() const { return took_ms_; }
  bool opened() const { return link_.ready(); }
  bool tls_was_the_problem() const { return tls_failed_; }

  // For the owner's book-keeping.
  UpstreamBorrower* client = nullptr;  // in whose transaction it is
  UpstreamBorrower* bound = nullptr;   // to whom alone it may be given: it was told of that client
  bool idle = false;
  bool stalled = false;  // while it was opened: another server is asked instead
  std::int64_t opened_at_ms = 0;
  std::int64_t idle_since_ms = 0;
  std::int64_t deadline_ms = 0;  // of the opening, or of the replies still owed when detached
  std::uint32_t transactions = 0;
  UpstreamShares::Party* party = nullptr;  // as whose it counts, until it can be used again
  std::int64_t asked_back_ms = 0;          // when its session was asked to give it back; 0: it was not
  std::int64_t given_back_ms = 0;          // when a session left it with replies still owed
  // A refusal counts at many servers against the connection, and so against its next user (Postfix,
  // smtpd_hard_error_limit): after `most` of them the connection is not used again.
  void note_refusal(const smtp::Reply& reply, std::uint32_t most);
  bool worn_out() const { return worn_out_; }

 private:
  void on_connected(int status) noexcept override;
  void on_plain(std::string_view bytes) noexcept override;
  void on_tls_established() noexcept override;
  void on_tls_failed(const std::string& error) noexcept override;
  void on_end(bool reset) noexcept override;
  void on_flushed() noexcept override;
  bool on_sending() noexcept override;
  std::int64_t now() const { return static_cast<std::int64_t>(uv_now(context_.loop)); }
  const std::string& host() const { return target_.settings->servers[target_.server].host; }
  void connect_to_next();
  void give_up_address();
  void replied(bool opening);
  std::int64_t share_of_time() const;
  void start_tls();
  void flush();

  LoopContext& context_;
  Target target_;
  Owner& owner_;
  SecureStream stream_;
  session::UpstreamLink link_;
  session::Output out_;
  bool looking_up_ = false;
  std::vector<dns::Address> addresses_;
  std::size_t next_address_ = 0;          // of addresses_, to be tried when this one fails
  std::size_t preferred_addresses_ = 0;   // as in dns::AddressBook::Answer
  std::int64_t address_deadline_ms_ = 0;  // 0: none, as there is no better address
  std::int64_t progress_ms_ = 0;          // when something was last sent or received
  std::int64_t slowest_ms_ = 0;
  std::int64_t took_ms_ = 0;
  std::int64_t burst_ms_ = 0;
  std::int64_t handshake_started_ms_ = 0;
  bool look_first_ = false;  // before what is written is sent
  bool lost_ = false;
  bool worn_out_ = false;
  std::uint32_t refusals_ = 0;
  bool tls_failed_ = false;
};

}  // namespace portcullis::net
