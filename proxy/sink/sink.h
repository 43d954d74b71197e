// The built-in receiving server: a small, honest SMTP server for demos and tests on one machine, and
// the cheap end of the benchmark. It takes mail for every address and writes it into a Maildir, with
// the envelope as header fields in front (Return-Path, X-Envelope-To, X-Envelope-Helo,
// X-Mail-Parameters, X-Rcpt-Parameters, X-XForward, X-XClient), or forgets it. No TLS, no AUTH, no
// delivery anywhere: it is not a server to face a network.
//
//   Sink sink(options);
//   if (auto started = sink.start(loop); !started) …   // started.error() says why
//   … sink.port() …
//   sink.stop();                                        // the loop then runs dry
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "smtp/limits.h"

using uv_loop_t = struct uv_loop_s;

namespace portcullis::sink {

struct SinkOptions {
  std::string address = "127.0.0.1";  // IPv4 or IPv6, without brackets
  std::uint16_t port = 2526;          // 0: any free one
  std::string maildir;                // empty: messages are read and forgotten
  bool sync = false;                  // fsync each message before its 250
  // Of a message; 0: no limit.
  std::uint64_t max_octets = smtp::limits::message_octets_default;
  std::string hostname = "sink.localhost";
};

// Lives on one loop's thread. A process that uses it ignores SIGPIPE.
class Sink {
 public:
  explicit Sink(SinkOptions options);
  ~Sink();  // stops; the loop must still run once to give the handles back
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  // Opens the Maildir and listens. The error is a sentence.
  std::expected<void, std::string> start(uv_loop_t* loop);
  // Closes the listener and every connection, whatever they are doing.
  void stop();

  std::uint16_t port() const;      // the one listened on, after start()
  std::uint64_t messages() const;  // accepted so far

 private:
  struct Server;
  std::unique_ptr<Server> server_;
};

// Serves on a loop of its own until SIGINT or SIGTERM. Says on standard output where it listens,
// and on standard error why it can not. The result is an exit code.
int run_sink(const SinkOptions& options);

}  // namespace portcullis::sink
