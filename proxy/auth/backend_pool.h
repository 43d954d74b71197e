// One backend's threads, queue, deadlines and circuit breaker (law 8: a hung server costs its own
// threads and nobody else's).
//
// Every submitted query is answered exactly once: by the backend, or with backend_error when the
// queue is full, the breaker is open, the deadline passes (queued or running) or the pool stops. A
// thread that is stuck past its deadline is left alone; what it says later is dropped.
//
//   BackendPool pool(std::move(backend), limits, events);
//   pool.submit(query, [](Answer answer) { … });   // on the caller's or on a pool thread
//   pool.stop(); pool.join();                      // never from inside a callback
#pragma once

#include <functional>
#include <memory>

#include "proxy/auth/backend.h"

namespace portcullis::auth {

class BackendPool {
 public:
  using Done = std::function<void(Answer)>;
  struct Events {
    std::function<void(const BackendEvent&)> called;  // a call ended (refusals of the pool itself do not)
    std::function<void(bool up)> state;               // breaker closed / opened
  };

  BackendPool(std::unique_ptr<Backend> backend, const BackendLimits& limits, Events events);
  ~BackendPool();
  BackendPool(const BackendPool&) = delete;
  BackendPool& operator=(const BackendPool&) = delete;

  void submit(std::shared_ptr<const Query> query, Done done);
  // From now on queries are refused; queued ones are answered with backend_error.
  void stop();
  // Waits for running calls, at most until their deadline, and for their callbacks.
  void join();

  Backend& backend();

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the threads: a stuck one may outlive the pool
};

}  // namespace portcullis::auth
