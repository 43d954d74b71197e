// Whether one server is to be passed over although it accepts connections: it does not reply, or replies
// slowly. Pure: pools report what they saw, the prober reports its probes, each with the time in milliseconds
// of the monotonic clock that all loops share.
//
//   suspect()            a pool waited for a reply in vain: the server is passed over, and probed at once
//   probed(up, slowest)  the server stays passed over until a probe finds it fast again, ten seconds later at
//   the
//                        earliest; twice as long each time it fails again soon after it came back
//
// So a server that is bad in a way that no probe can see (only RCPT hangs) gets a share of the mail that
// becomes smaller and smaller, instead of the mail going to and fro.
#pragma once

#include <cstdint>

namespace portcullis::net {

class ServerStanding {
 public:
  static constexpr std::int64_t slow_ms = 1'000;  // for one reply: slow, where another server is fast
  static constexpr std::int64_t fast_ms = 500;    // no reply of a probe took longer: fast again
  static constexpr std::int64_t least_penalty_ms = 10'000;
  static constexpr std::int64_t most_penalty_ms = 300'000;
  // A server that fails within this time after it came back was not well.
  static constexpr std::int64_t relapse_ms = 60'000;

  void suspect(std::int64_t now_ms);
  void probed(bool up, std::int64_t slowest_ms, std::int64_t now_ms);
  // The probe that suspect() asked for waits for a reply too.
  void probe_is_silent() { hung_ = suspected_; }

  bool passed_over() const { return suspected_; }
  // Not only slow: it does not answer new connections either.
  bool hung() const { return hung_; }
  // A probe was asked for and has not been started.
  bool wants_probe() const { return wants_probe_; }
  void probe_started() { wants_probe_ = false; }

 private:
  bool suspected_ = false;
  bool hung_ = false;
  bool wants_probe_ = false;
  std::int64_t until_ms_ = 0;      // passed over until then at least
  std::int64_t penalty_ms_ = 0;    // the last one
  std::int64_t came_back_ms_ = 0;  // after it
};

}  // namespace portcullis::net
