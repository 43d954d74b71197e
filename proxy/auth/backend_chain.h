// What stands behind Service: brute-force control, cache, then the backends in order. Apart from
// Service so that tests can put backends of their own here.
//
// Answers of backends: success, disabled and password_expired are final; bad_credentials and
// backend_error pass on to the next. When none is left, one backend_error on the way makes the whole
// answer backend_error (law 5).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/auth/backend_pool.h"
#include "proxy/auth/cache.h"
#include "proxy/auth/keyed_hash.h"
#include "proxy/auth/service.h"

namespace portcullis::auth {

class BackendChain {
 public:
  // `lockout` may be null: no brute-force control.
  BackendChain(Cache cache, std::shared_ptr<policy::Lockout> lockout, Observer observer);
  ~BackendChain();  // as ~Service
  BackendChain(const BackendChain&) = delete;
  BackendChain& operator=(const BackendChain&) = delete;

  // Asked after those added before. All are added before the first request.
  void add(std::unique_ptr<Backend> backend, const BackendLimits& limits);
  void authenticate(Request request, std::function<void(Outcome)> done);
  std::uint8_t mechanisms() const;
  void for_each(const std::function<void(Backend&)>& visit);

 private:
  struct Walk;
  // `login` canonical, empty when it is not valid.
  std::optional<Outcome> refusal(const smtp::Credentials& credentials, const std::string& login) const;
  bool answered_from_cache(Walk& walk);
  void ask_next(std::shared_ptr<Walk> walk);
  void took(std::shared_ptr<Walk> walk, Answer answer);
  void settle(Walk& walk, Answer answer, bool cached);
  std::uint64_t generation() const;
  std::string guessed_login(const std::string& login) const;

  std::shared_ptr<policy::Lockout> lockout_;
  Observer observer_;
  OutcomeCache cache_;
  std::vector<std::unique_ptr<BackendPool>> pools_;
};

}  // namespace portcullis::auth
