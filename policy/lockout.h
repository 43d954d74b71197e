// Brute-force control (3.5): failures counted per client network and per login by *distinct*
// password, so that a phone with a stale password counts once and an attacker counts each time; an
// owner who logged in from a network before is not locked out there by others' failures elsewhere.
// Thread-safe, bounded, sharded. Passwords are seen only as a keyed hash made by the caller.
//
// What counts where, for a client network (IPv4 address, IPv6 /64) and a login:
//  - the network counts distinct (login, password) pairs and blocks every login that was never used
//    from it;
//  - the login counts distinct passwords tried from all networks where it never logged in, and is
//    blocked in those;
//  - a network where it did log in has a count of its own for that login: a neighbour can block the
//    login there, and nowhere else; nobody elsewhere can block it there.
// Counts are forgotten after window_seconds without a repetition, a block after block_seconds.
// A success forgives only the count of its own login and network: an attacker with one account of
// their own can not reset what their network has on it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/facts.h"
#include "policy/known_networks.h"
#include "policy/settings.h"

namespace portcullis::policy {

class Lockout {
 public:
  // `entries_max` bounds the networks, and the logins, that have failures.
  explicit Lockout(LockoutRule rule, std::size_t entries_max = 32768);
  ~Lockout();

  // From now on, what is known of failures and blocks stays. Any thread.
  void use(const LockoutRule& rule);

  enum class Scope : std::uint8_t { none, network, login };
  struct Answer {
    Scope blocked_by = Scope::none;  // none: go on and ask a backend
    std::uint32_t retry_after_seconds = 0;
    std::uint32_t delay_ms = 0;       // hold the reply back this long
    Scope would_block = Scope::none;  // shadow mode: what `enforce` would have said
  };
  // Before the backends are asked. `login` canonical. The delay is for whatever answer follows: were
  // only failures slow, a guesser could hang up on every answer that takes its time.
  Answer before(const IpAddress& client, std::string_view login, WallTime now) const;
  // After bad credentials; `password_hash` is keyed. Returns the delay for the reply.
  Answer failed(const IpAddress& client, std::string_view login, std::uint64_t password_hash, WallTime now);
  // After success: the network becomes known for this login.
  void succeeded(const IpAddress& client, std::string_view login, WallTime now);
  // Blocked now; in shadow mode, that would be.
  std::size_t blocked_networks(WallTime now) const;
  std::size_t blocked_logins(WallTime now) const;

  // For persistence, as MemoryCounters does it. Failures that led to no block are not kept: what they are
  // known by means nothing to another process.
  KnownNetworks& known_networks();
  struct Block {
    std::string login;                 // canonical; empty: all that are not known in the network
    std::optional<IpNetwork> network;  // none: everywhere the login is not known
    WallTime until;
  };
  void restore(const Block& block, WallTime now);
  // Those that began since the last call.
  std::vector<Block> take_new_blocks(WallTime now);
  void mark_new(const Block& block);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace portcullis::policy
