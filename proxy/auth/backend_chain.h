// What stands behind Service: brute-force control, cache, then the backends in order. Apart from
// Service so that tests can put backends of their own here.
//
// Answers of backends: success, disabled and password_expired are final; bad_credentials and
// backend_error pass on to the next. When none is left, one backend_error on the way makes the whole
// answer backend_error (law 5).
//
// Equal questions at the same time (login, secret and what is known of the account) are asked once; each who
// asked gets the answer, and brute-force control looks at each.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/auth/backend_pool.h"
#include "proxy/auth/cache.h"
#include "proxy/auth/service.h"

namespace portcullis::auth {

class BackendChain {
 public:
  // `lockout` may be null: no brute-force control.
  BackendChain(Cache cache, std::shared_ptr<policy::Lockout> lockout, Observer observer,
               std::shared_ptr<Workers> workers);
  ~BackendChain();  // requests under way go on and are answered
  BackendChain(const BackendChain&) = delete;
  BackendChain& operator=(const BackendChain&) = delete;

  // Asked after those added before. All are added before the first request.
  void add(std::unique_ptr<Backend> backend, const BackendLimits& limits);
  void add(std::shared_ptr<BackendPool> pool);
  void authenticate(Request request, std::function<void(Outcome)> done);
  std::uint8_t mechanisms() const;
  const std::vector<std::shared_ptr<BackendPool>>& pools() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the requests under way
};

}  // namespace portcullis::auth
