// Brute-force control (3.5): failures counted per client network and per login by *distinct*
// password, so that a phone with a stale password counts once and an attacker counts each time; an
// owner who logged in from a network before is not locked out there by others' failures elsewhere.
// Thread-safe, bounded, sharded. Passwords are seen only as a keyed hash made by the caller.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "policy/facts.h"
#include "policy/settings.h"

namespace portcullis::policy {

class Lockout {
 public:
  explicit Lockout(LockoutRule rule);
  ~Lockout();

  enum class Scope : std::uint8_t { none, network, login };
  struct Answer {
    Scope blocked_by = Scope::none;      // none: go on and ask a backend
    std::uint32_t retry_after_seconds = 0;
    std::uint32_t delay_ms = 0;          // hold the reply back this long
  };
  // Before the backends are asked. `login` canonical.
  Answer before(const IpAddress& client, std::string_view login, WallTime now) const;
  // After bad credentials; `password_hash` is keyed. Returns the delay for the reply.
  Answer failed(const IpAddress& client, std::string_view login, std::uint64_t password_hash, WallTime now);
  // After success: the network becomes known for this login.
  void succeeded(const IpAddress& client, std::string_view login, WallTime now);
  std::size_t blocked_networks(WallTime now) const;
  std::size_t blocked_logins(WallTime now) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace portcullis::policy
