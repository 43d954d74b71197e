// Which connections a pool takes back for sessions that wait (law 4: a shared resource is never held by a
// session that does not use it while others wait for it). Pure: facts in, a list of what to do out.
//
// In this order, for each waiter whom nothing that is free will serve:
// 1. a connection whose client owes its next command: the session gives it back and loses nothing;
// 2. a connection without a session whose server is slow with the replies still owed: it is closed;
// 3. a connection whose client has closed its side, and may be gone, while the server is slow: its use ends;
// 4. of a party that holds at least two more than the waiter's: the use of a slow client, or of a server that
// is slow
//    to answer it, ends;
// 5. the use of a client that has been slow for long ends, whatever its party holds.
// Parties that hold the most come first. A connection that waits for the reply to a whole message is never
// taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "proxy/session/upstream_hold.h"

namespace portcullis::net {

enum class ReclaimReason : std::uint8_t { idle, unsettled, half_closed, slow_client, slow_server, stalled };

struct Reclaim {
  // Of the caller's lists.
  std::size_t holder = 0;
  ReclaimReason reason = ReclaimReason::idle;
};

class ReclaimPlan {
 public:
  struct Limits {
    std::int64_t idle_ms = 250;      // without a command: idle; without a reply: slow
    std::int64_t patience_ms = 200;  // of a waiter before the use of others ends
    std::int64_t slow_ms = 1'000;    // of waiting for a server
    std::int64_t stalled_ms = 10'000;
  };
  struct Holder {
    std::size_t party = 0;       // an index of add_party()
    bool has_session = true;     // false: given back, replies are still owed
    bool asked_for = false;      // it is on its way back already
    session::UpstreamHold hold;  // without a session only since_ms counts
  };

  ReclaimPlan(const Limits& limits, std::int64_t now_ms) : limits_(limits), now_ms_(now_ms) {}
  std::size_t add_party(std::size_t held);
  void add_holder(const Holder& holder) { holders_.push_back(holder); }
  // In the order of their turns. `capped`: only what its own party gives back can serve it.
  void take_for(std::size_t party, std::int64_t since_ms, bool capped);
  const std::vector<Reclaim>& chosen() const { return chosen_; }

 private:
  std::optional<ReclaimReason> reason_to_take(const Holder& holder, std::size_t for_party,
                                              std::int64_t waited_ms) const;

  Limits limits_;
  std::int64_t now_ms_;
  std::vector<std::size_t> parties_;  // how many they hold
  std::vector<Holder> holders_;
  std::vector<Reclaim> chosen_;
};

}  // namespace portcullis::net
