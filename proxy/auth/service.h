// Authentication as the session sees it: one request, one answer, never on the caller's loop
// (law 8). Behind it: brute-force control, cache, then the backends in order, each asked by the process's
// threads for its kind (workers.h) with a concurrency cap, a deadline and a circuit breaker.
//
// Order of backends: one that does not know the login, or refuses the password, passes on to the
// next; the first success wins. If none succeeds and any of them could not be asked, the answer is
// backend_error, never bad_credentials (law 5).
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policy/identity.h"
#include "policy/ip.h"
#include "policy/lockout.h"
#include "proxy/auth/settings.h"
#include "smtp/sasl.h"

namespace portcullis::auth {

struct Request {
  smtp::Credentials credentials;
  policy::IpAddress client;
  std::string session_id;
  std::uint32_t attempt = 0;  // which of the session's this is: an answer to an earlier one is too late
};

enum class Result : std::uint8_t {
  success,
  bad_credentials,   // 535 5.7.8; unknown login and wrong password alike
  backend_error,     // 454 4.7.0
  blocked,           // 454 4.7.0 by brute-force control
  disabled,          // 525 5.7.13 account locked or disabled in the directory
  password_expired,  // 534 5.7.9: expired or must change
  unsupported,       // 504 5.5.4: no backend takes this mechanism
};
inline constexpr std::size_t result_count = 7;
std::string_view name_of(Result result);

struct Outcome {
  Result result = Result::backend_error;
  policy::Account account;  // for success; Account::backend says who vouched
  bool cached = false;
  std::uint32_t delay_ms = 0;  // the session holds its reply back this long
  std::string detail;          // for the journal, never for the client; no secrets
};

// What metrics want to know of one backend call.
struct BackendEvent {
  BackendKind backend;
  Result result;
  std::chrono::duration<double> duration;
};

// Why a backend was not asked; the answer was backend_error all the same.
enum class NotAsked : std::uint8_t {
  queue_full,    // too many requests waited
  no_worker,     // no worker was free in time
  breaker_open,  // the backend failed repeatedly a moment ago
};
inline constexpr std::size_t not_asked_count = 3;

struct Observer {
  std::function<void(const BackendEvent&)> backend_called;                 // any thread
  std::function<void(BackendKind, NotAsked)> backend_not_asked = nullptr;  // any thread
  std::function<void(bool hit)> cache_looked_up;                           // any thread
  std::function<void(BackendKind, bool up)> backend_state;                 // circuit breaker opened / closed
  // Something an admin should read, one sentence: the new user file is broken and the old one stays.
  std::function<void(BackendKind, const std::string&)> backend_trouble = nullptr;  // any thread
};

// What became of an account that logged in before.
enum class AccountState : std::uint8_t {
  unchanged,
  changed,    // it owns other addresses, or is in other groups
  gone,       // it was removed, locked or got another password, or its backend is not asked any more
  not_known,  // the backend cannot tell without a password (LDAP, IMAP, certificates)
};

class Workers;

class Service {
 public:
  // `workers` ask the backends; enough of them must be reserved and in use (reserve_workers, use_workers).
  // `before`: of the configuration that this one follows, if any. Backends whose settings are the same are
  // shared with it: their connections and what they learnt stay.
  Service(const Settings& settings, std::shared_ptr<policy::Lockout> lockout, Observer observer,
          std::shared_ptr<Workers> workers, const Service* before = nullptr);
  ~Service();  // requests under way go on and are answered
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Calls `done` exactly once, on the caller's thread (at once, e.g. from the cache or when blocked)
  // or on a thread of the service. EXTERNAL never comes here: the session maps certificates itself.
  void authenticate(Request request, std::function<void(Outcome)> done);

  // Whether a service with these settings would differ in nothing, the files they name included.
  bool serves(const Settings& settings) const;
  // Looks at once at what is otherwise looked at once a second. May block as long as a disk does.
  void look();

  // Law 9. Changes whenever what look_again() says may have changed; never the same for two services that
  // differ. Cheap, any thread.
  std::uint64_t generation() const;
  // What became of an account that a service vouched for earlier, by what is known without asking anybody.
  // For `changed`, `account` gets what it owns now. No I/O, any thread.
  //
  //   if (generation != service.generation()) {   // at each MAIL
  //     generation = service.generation();
  //     if (service.look_again(account) == AccountState::gone) …log the session out
  //   }
  AccountState look_again(policy::Account& account) const;

  // SMTP mechanisms some backend takes (smtp::MechanismBit): PLAIN and LOGIN always, the OAuth ones
  // with an IMAP backend.
  std::uint8_t mechanisms() const;

  // One line per backend for `portcullis check --probe`: reachable, or why not.
  struct ProbeLine {
    BackendKind backend;
    bool ok;
    std::string text;
  };
  std::vector<ProbeLine> probe(std::chrono::seconds patience = std::chrono::seconds(10));

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Threads for all backends of these settings; the error is a sentence. What is in use does not change.
std::expected<void, std::string> reserve_workers(Workers& workers, const Settings& settings);
// As many threads as these settings want; surplus ones end.
void use_workers(Workers& workers, const Settings& settings);

}  // namespace portcullis::auth
