// One session of the load generator: what is sent next follows from the reply that came.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "smtp/reply.h"
#include "tests/bench/load/options.h"
#include "tests/bench/load/result.h"
#include "tests/bench/load/transport.h"

namespace portcullis::bench {

using Clock = std::chrono::steady_clock;

// What all sessions share.
struct Plan {
  Options options;
  sockaddr_in address{};
  SSL_CTX* tls = nullptr;
  bssl::UniquePtr<SSL_SESSION> ticket;  // the last one that came
  std::string envelope;                 // MAIL and RCPT of a pipelining client, DATA or BDAT behind them
  std::string body_command;             // "DATA\r\n" or "BDAT n LAST\r\n"
  std::string content;                  // as sent: with the final dot unless BDAT
  Result result;
};

class Client {
 public:
  explicit Client(Plan& plan) : plan_(plan) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connect();  // false: failed already, counted
  int fd() const { return transport_.fd(); }
  // The socket is readable or writable (edge triggered).
  void progress();
  bool finished() const { return step_ == Step::ended; }
  bool holding() const { return step_ == Step::held; }
  void release();  // from holding: QUIT
  void give_up(std::string_view why) { fail(why, 0); }

 private:
  enum class Step : std::uint8_t {
    connecting,
    handshake,
    greeting,
    ehlo,
    starttls,
    auth,
    mail,
    rcpt,
    data,
    end_of_data,
    held,
    quit,
    ended,
  };
  static std::string_view name_of(Step step);

  void on_reply(const smtp::Reply& reply);
  void after_ehlo();
  void next_message();
  void send(std::string_view bytes, Step awaiting);
  void send_content();
  bool flush();
  void read_replies();
  bool continue_handshake();
  void fail(std::string_view what, unsigned code);
  void end_well();

  Plan& plan_;
  Transport transport_;
  smtp::ReplyParser parser_;
  Step step_ = Step::connecting;
  bool secured_ = false;  // EHLO was repeated inside TLS
  std::size_t messages_ = 0;
  std::string out_;  // not sent yet
  std::size_t out_sent_ = 0;
  std::string_view content_left_;  // behind out_
  Clock::time_point began_;
  Clock::time_point message_began_;
};

}  // namespace portcullis::bench
