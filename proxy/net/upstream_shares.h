// Who holds the connections of a pool, who waits for one, and whose turn is next. Pure book-keeping: no
// connections, no clock, no metrics.
//
// A *party* is one login, or one client network of sessions without a login. One party, or a few, could take
// all connections and the whole queue. Therefore:
// - The more a party holds, the more it must leave free (may_take). A share of the connections is for logins
// only.
// - A connection that becomes free goes to the waiting party that holds the fewest; within a party, and
// between
//   equals, to the session that has waited longest.
// - When the queue is full, the party with the most waiters gives up its newest place to a smaller party.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

#include "proxy/net/upstream_borrower.h"

namespace portcullis::net {

class UpstreamShares {
 public:
  struct Limits {
    std::size_t connections_max = 1;
    std::size_t kept_free = 0;  // by a party that holds all the others
    std::size_t for_users = 0;  // connections that only logins may take
    std::size_t waiting_max = 0;
  };
  struct Party {
    std::string key;
    bool user = false;
    std::size_t held = 0;
    std::size_t waiting = 0;
  };
  struct Waiter {
    UpstreamBorrower* client = nullptr;
    Party* party = nullptr;  // null once out of the queue
    std::int64_t since_ms = 0;
    bool promised = false;  // with XCLIENT: a connection is being opened, or cleaned, for this client
  };

  explicit UpstreamShares(const Limits& limits) : limits_(limits) {}
  UpstreamShares(const UpstreamShares&) = delete;
  UpstreamShares& operator=(const UpstreamShares&) = delete;

  // Whether a session of the party may take one of `free` connections.
  bool may_take(const PartyKey& key, std::size_t free) const;
  bool may_take(const Party& party, std::size_t free) const { return may_hold(party, 0, free); }
  // Counts a connection as the party's; given back with give_back(). The pointer stays good until then.
  Party* hold(const PartyKey& key);
  void give_back(Party* party);
  std::size_t held() const { return held_; }

  // Puts a session into the queue. When the queue is full, the session that has to leave it is returned:
  // another party's, or the new one.
  std::optional<Waiter> wait(UpstreamBorrower& client, const PartyKey& key, std::int64_t now_ms,
                             bool promised);
  // The next one to be served from `free` connections, taken out of the queue; none: nobody may take one.
  std::optional<Waiter> next(std::size_t free);
  // The longest waiting one if it has waited since `since_ms` or before, taken out of the queue.
  std::optional<Waiter> longest(std::int64_t since_ms);
  // Takes one client out of the queue.
  std::optional<Waiter> remove(const UpstreamBorrower& client);
  // How many of the waiters could be served from `free` connections.
  std::size_t servable(std::size_t free) const;
  std::size_t waiting() const { return waiters_.size(); }
  std::size_t parties() const { return parties_.size(); }
  // In the order of their arrival.
  std::deque<Waiter>& waiters() { return waiters_; }
  const std::deque<Waiter>& waiters() const { return waiters_; }

 private:
  bool may_hold(const Party& party, std::size_t more, std::size_t free) const;
  Party& party(const PartyKey& key);
  Waiter take_out(std::deque<Waiter>::iterator at);
  void forget_if_empty(Party& party);

  Limits limits_;
  std::unordered_map<std::string, Party> parties_;  // those that hold or wait
  std::deque<Waiter> waiters_;
  std::size_t held_ = 0;
  std::size_t held_by_users_ = 0;
};

}  // namespace portcullis::net
