// The conversation of the receiving server `portcullis sink`: bytes in, replies out; no sockets. It
// follows RFC 5321 with PIPELINING, SIZE, 8BITMIME, SMTPUTF8, CHUNKING, DSN, ENHANCEDSTATUSCODES and
// Postfix's XFORWARD and XCLIENT, takes mail for everybody, and keeps it or forgets it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/sink/maildir.h"
#include "smtp/body.h"
#include "smtp/command.h"
#include "smtp/extensions.h"
#include "smtp/path.h"

namespace portcullis::sink {

// What all sessions of one server share.
struct Service {
  std::string hostname;
  smtp::Extensions offered;
  const Maildir* maildir = nullptr;  // null: messages are read and forgotten
  std::uint64_t next_id = 0;
  std::uint64_t messages = 0;  // accepted so far
};

class Session {
 public:
  explicit Session(Service& service) : service_(service) {}

  // The peer may use XFORWARD and XCLIENT.
  void trust() { trusted_ = true; }

  // Appends the greeting.
  void begin(std::string& out);
  // Takes all of `bytes` and appends the replies to what is complete in them.
  void feed(std::string_view bytes, std::string& out);
  // The peer is gone: what was not finished is thrown away. Nothing may follow.
  void abandon() { reset(); }
  // After QUIT, or when the client broke the protocol beyond repair: send what is in `out`, close.
  bool closing() const { return closing_; }

 private:
  enum class Mode : std::uint8_t { command, data, chunk };

  std::string_view read_command(std::string_view bytes, std::string& out);
  std::string_view read_data(std::string_view bytes, std::string& out);
  std::string_view read_chunk(std::string_view bytes, std::string& out);
  void handle(std::string_view line, std::string& out);
  void handle_hello(const smtp::Command& command, std::string& out);
  void handle_mail(std::string_view argument, std::string& out);
  void handle_rcpt(std::string_view argument, std::string& out);
  void handle_data(std::string& out);
  void handle_bdat(std::string_view argument, std::string& out);
  void handle_xforward(std::string_view argument, std::string& out);
  void handle_xclient(std::string_view argument, std::string& out);
  void begin_message();
  void take_content();
  void finish_message(smtp::BodyFault fault, std::string& out);
  void finish_chunk(std::string& out);
  void note(std::string_view field, std::string_view value);
  void reset();

  Service& service_;
  bool trusted_ = false;
  bool closing_ = false;
  Mode mode_ = Mode::command;
  std::string line_;  // the beginning of a command line that is not complete yet
  std::string helo_;
  std::string xclient_;  // attributes in force, as they were sent
  std::string xforward_;

  // The transaction. `trace_` is the header fields that show the envelope.
  bool mail_seen_ = false;
  bool smtputf8_ = false;
  std::size_t recipients_ = 0;
  std::string trace_;
  std::uint64_t octets_ = 0;
  smtp::DataReader reader_{smtp::BareLf::refuse};
  smtp::ContentScanner scanner_{smtp::BareLf::refuse};
  bool chunked_ = false;  // a BDAT was accepted
  std::uint64_t chunk_left_ = 0;
  bool chunk_last_ = false;
  bool chunk_refused_ = false;
  std::string id_;
  std::optional<MaildirMessage> message_;
  smtp::Slices slices_;
};

}  // namespace portcullis::sink
