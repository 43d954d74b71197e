// What a transaction does with the upstream connection that it holds, for those who share the connections
// out.
#pragma once

#include <cstdint>

namespace portcullis::session {

enum class UpstreamUse : std::uint8_t {
  none,            // no connection is held
  idle,            // the client owes its next command: the connection can be given back and taken again
  client_sends,    // the client is sending the message
  server_answers,  // the server owes a reply, or does not take what is sent to it
  ended,           // the end of the message is sent: only the server's reply may follow (law 1)
};

struct UpstreamHold {
  UpstreamUse use = UpstreamUse::none;
  std::int64_t since_ms = 0;  // of this use
  // How long the client's octets last at the rate that is asked for (Pace); in the past: the client is slow.
  std::int64_t pace_until_ms = 0;
  bool half_closed = false;  // the client will send no more; it may be gone
};

// Whether a client sends as fast as asked for. Each octet is good for a span of time, and at most `most_ms`
// of it can be saved up: a client that was fast a minute ago is slow now if it stops.
class Pace {
 public:
  void begin(std::int64_t now_ms, std::int64_t most_ms) { until_ms_ = now_ms + most_ms; }
  void took(std::uint64_t octets, std::uint32_t octets_per_second, std::int64_t now_ms,
            std::int64_t most_ms) {
    const std::int64_t most = now_ms + most_ms;
    const auto earned = static_cast<std::int64_t>(octets * 1000 / octets_per_second);
    until_ms_ = until_ms_ < now_ms ? now_ms : until_ms_;
    until_ms_ = earned < most - until_ms_ ? until_ms_ + earned : (most > until_ms_ ? most : until_ms_);
  }
  // Time in which the server was the one to wait for.
  void lend(std::int64_t span_ms) { until_ms_ += span_ms; }
  std::int64_t until_ms() const { return until_ms_; }

 private:
  std::int64_t until_ms_ = 0;
};

}  // namespace portcullis::session
