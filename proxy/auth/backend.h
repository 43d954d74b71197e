// What one backend is to the service: something that answers one question at a time, blocking, on a
// thread that the service gave it.
//
// A Backend is shared by its threads; each thread has an Asker of its own, which may keep a
// connection (libldap: one LDAP* a thread). Askers never outlive their Backend.
//
//   auto asker = backend.asker();
//   Answer a = asker->ask(query, Clock::now() + 10s);
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "policy/identity.h"
#include "proxy/auth/service.h"
#include "proxy/auth/settings.h"
#include "smtp/sasl.h"

namespace portcullis::auth {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

// "file", "ldap", "imap": as in the configuration, the journal and the metrics.
std::string_view backend_name(BackendKind kind);

// The bit of extensions.h for a mechanism.
std::uint8_t mechanism_bit(smtp::Mechanism mechanism);

struct Query {
  std::string login;  // canonical, non-empty
  smtp::Mechanism mechanism = smtp::Mechanism::plain;
  smtp::Secret secret;  // non-empty, no NUL
  // For a backend that has found the login's entry and is about to try the secret: whether brute-force
  // control lets one more guess at this entry pass. Any thread. None: always.
  std::function<bool(const std::string& identity)> may_try = nullptr;
};

// One of success, bad_credentials, backend_error, disabled, password_expired; blocked where Query::may_try
// said so; unsupported where only the server can tell that it does not take the mechanism.
struct Answer {
  Result result = Result::backend_error;
  policy::Account account = {};  // for success
  std::string detail = {};       // for the journal: no secrets, never for the client
  // A backend_error about this login alone (two entries have it): the backend is well, and its circuit
  // breaker not concerned. Else whoever knows such a login could keep everybody out.
  bool is_of_login = false;
  // Of the entry that the login led to, success or not: one for all its aliases. Empty: none is known.
  std::string identity = {};
};

class Asker {
 public:
  virtual ~Asker() = default;
  // Blocks, but not (much) longer than `deadline`. Throws nothing.
  virtual Answer ask(const Query& query, Deadline deadline) = 0;
  // Whether the backend could answer: a sentence about it, or why not.
  virtual std::expected<std::string, std::string> probe(Deadline deadline) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual BackendKind kind() const = 0;
  virtual std::uint8_t mechanisms() const = 0;  // smtp::MechanismBit
  virtual std::unique_ptr<Asker> asker() = 0;
  // One name for all logins (canonical) that this backend can not tell apart, for brute-force control: where
  // the domain is not compared, guesses at another domain are guesses at the same account.
  virtual std::string guessed_login(const std::string& login) const { return login; }
  // Whether it is known without asking that there is an account of just this name.
  virtual bool has(const std::string& /*login*/) const { return false; }
  // Changes when accounts may have changed (the user file was edited).
  virtual std::uint64_t generation() const { return 0; }
  // Of what is known without asking about an account of just this name: what was learnt about it under
  // another number is stale. 0: nothing is known, or there is no such account.
  virtual std::uint64_t version_of(const std::string& /*login*/) const { return 0; }
  // See Service::look_again().
  virtual AccountState look_again(policy::Account& /*account*/) const { return AccountState::not_known; }
};

}  // namespace portcullis::auth
