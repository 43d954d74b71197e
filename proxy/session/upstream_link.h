// One connection to an upstream as a machine: greeting, EHLO, STARTTLS, EHLO, AUTH, XCLIENT; then
// commands of transactions, with the replies given back in order beside what they answer.
//
// Promises: a reply that answers nothing makes the link unusable for good (law 1), so does anything
// that is not SMTP. Pipelines only where the server offers it, otherwise sends the next command when
// the former is answered.
//
//   link.connected();                          // implicit TLS: says start_tls
//   do { step = link.feed(bytes, out); … } while (step != need_more);
//   // `out` was sent: link.sent();
//   // ready: link.command("MAIL FROM:<a@b>\r\n", Expect::mail, out); …
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "proxy/config/config.h"
#include "proxy/session/output.h"
#include "smtp/extensions.h"
#include "smtp/reply.h"

namespace portcullis::session {

enum class Expect : std::uint8_t {
  greeting,
  ehlo,
  helo,
  starttls,
  auth,
  xclient,
  xforward,
  mail,
  rcpt,
  data,
  chunk,
  end_of_data,
  rset,
  quit,
};

enum class LinkFailure : std::uint8_t {
  none,
  connect,          // refused, unreachable: set by the driver
  refused,          // greeting or EHLO answered 4xx/5xx
  tls_not_offered,  // TLS is required, STARTTLS is not there
  tls,              // the handshake or the verification failed
  auth,             // our credentials were refused
  xclient,          // XCLIENT is not offered or was refused: a configuration error
  malformed,        // not SMTP
  unasked,          // a reply nobody asked for
  closed,           // by the server; 421 included
  timeout,
  busy,  // no connection became free in time
};
std::string_view name_of(LinkFailure failure);

// For whom a connection is opened, told by XCLIENT (Postfix XCLIENT_README).
struct XClient {
  std::string attributes;  // "NAME=... ADDR=...", ready to send; empty: no XCLIENT
  std::string helo;        // what the client said; the server takes it from the EHLO that follows
};

class UpstreamLink {
 public:
  // `settings` outlives the link. `use_tls`: false to go on in the clear after opportunistic TLS
  // failed.
  UpstreamLink(const config::Upstream& settings, std::string helo, bool use_tls, XClient xclient);

  enum class Step : std::uint8_t {
    need_more,  // all bytes consumed
    start_tls,  // driver: start the handshake, then tls_established()
    ready,      // opening is over: commands may be sent
    answer,     // answer() and answered() tell
    failed,     // failure() tells; close it
  };

  Step connected();                   // TCP is up
  void tls_established(Output& out);  // also after implicit TLS
  // What was commanded so far is with the socket: only that can be answered by what is read from now on. A
  // reply to a command that has not left yet was there too early (law 1).
  void sent() { answerable_ = expected_.size(); }
  // The end of that still waits for room at the socket. It belongs to the last command: were the end of a
  // message answered before it has left, a message nobody has would be acknowledged (law 1).
  void last_not_sent();
  // Consumes from the front of `bytes` (moved forward) until something is to be told.
  Step feed(std::string_view& bytes, Output& out);

  // Sends (or queues) one command line with CRLF.
  void command(std::string_view wire, Expect what, Output& out);
  // The caller itself wrote a command with content behind it (BDAT, end of data).
  void expect(Expect what) { expected_.push_back(what); }

  const smtp::Reply& answer() const { return answer_; }
  Expect answered() const { return answered_; }
  LinkFailure failure() const { return failure_; }
  const std::string& failure_text() const { return failure_text_; }
  // The 4yz or 5yz reply that the server sent unasked before the link failed; code 0: none. Servers that give
  // up in the middle of a message say so this way. It can refuse a message, and never accept one.
  const smtp::Reply& parting() const { return parting_; }
  // Octets that answer nothing have come: nothing may be sent any more.
  bool interrupted() const { return interrupted_; }
  const smtp::Extensions& extensions() const { return extensions_; }
  bool ready() const { return opened_ && failure_ == LinkFailure::none; }
  bool tls() const { return tls_; }
  std::size_t outstanding() const { return expected_.size() + queued_.size(); }
  std::uint64_t replies() const { return replies_; }            // so far
  std::uint32_t transactions() const { return transactions_; }  // MAIL commands so far
  void fail(LinkFailure failure, std::string text);
  void set_name(std::string name) { name_ = std::move(name); }
  const std::string& name() const { return name_; }  // "upstream/host:port", for the journal

 private:
  Step opening_reply(Output& out);
  Step after_ehlo(Output& out);
  Step send_auth(Output& out);
  Step send_xclient(Output& out);
  Step send_ehlo(Output& out);
  Step finish_opening();
  Step failed_step(LinkFailure failure, std::string text);
  Step unasked(std::string_view& bytes);

  const config::Upstream& settings_;
  std::string name_;
  std::string helo_;
  XClient xclient_;
  bool use_tls_;
  bool tls_ = false;
  bool opened_ = false;
  bool xclient_sent_ = false;
  bool pipelining_ = false;
  smtp::ReplyParser parser_;
  smtp::Reply answer_;
  Expect answered_ = Expect::greeting;
  std::deque<Expect> expected_;
  std::uint32_t transactions_ = 0;
  std::uint64_t replies_ = 0;
  std::size_t answerable_ = 0;  // how many of them have been sent
  struct Queued {
    std::string wire;
    Expect what;
  };
  std::deque<Queued> queued_;
  smtp::Extensions extensions_;
  LinkFailure failure_ = LinkFailure::none;
  std::string failure_text_;
  smtp::Reply parting_;
  bool interrupted_ = false;
};

}  // namespace portcullis::session
