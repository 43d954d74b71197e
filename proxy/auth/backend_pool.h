// One backend as the chain asks it: through the workers of the process, with a deadline and a circuit breaker
// (law 8: a hung server costs its own threads and nobody else's).
//
// Every question is answered exactly once: by the backend, or with backend_error when it was not asked (too
// many wait, no worker was free within half of its deadline, the breaker is open, the process ends) or when
// the deadline passed. Only an answer of the backend, or its silence for at least half of the deadline,
// counts for the breaker: a question that waited in our own queue says nothing about the backend.
//
//   auto pool = std::make_shared<BackendPool>(std::move(backend), limits, events, workers);
//   pool->submit({query, claim, gate}, [](Answer answer) { … });   // on the caller's or on a worker's thread
//
// Questions under way keep the pool; whoever made it may go first.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "proxy/auth/backend.h"
#include "proxy/auth/breaker.h"
#include "proxy/auth/workers.h"

namespace portcullis::auth {

class BackendPool : public std::enable_shared_from_this<BackendPool> {
 public:
  using Done = std::function<void(Answer)>;
  struct Events {
    std::function<void(const BackendEvent&)> called;  // the backend answered, or did not in time
    std::function<void(NotAsked)> not_asked;
    std::function<void(bool up)> state;  // breaker closed / opened
  };
  struct Question {
    std::shared_ptr<const Query> query;
    Claim claim;
    // Looked at when a worker is free: false answers `blocked` without asking. May be empty.
    std::function<bool()> still_wanted;
  };

  BackendPool(std::unique_ptr<Backend> backend, const BackendLimits& limits, Events events,
              std::shared_ptr<Workers> workers);
  ~BackendPool();
  BackendPool(const BackendPool&) = delete;
  BackendPool& operator=(const BackendPool&) = delete;

  void submit(Question question, Done done);
  Backend& backend() { return *backend_; }
  const Backend& backend() const { return *backend_; }

 private:
  struct Call;
  Answer ask(const Query& query, Deadline deadline);
  void record(bool answered);
  bool may_still_ask(bool trial) const;
  void forgo(bool trial);
  std::unique_ptr<Asker> take_asker();

  const std::unique_ptr<Backend> backend_;
  const BackendLimits limits_;
  const Events events_;
  const std::shared_ptr<Workers> workers_;
  mutable std::mutex lock_;  // guards what follows
  Breaker breaker_;
  std::vector<std::unique_ptr<Asker>> idle_;  // with their connections; as many as ever asked at a time
};

}  // namespace portcullis::auth
