// The threads of authentication. They belong to the process: each kind of backend has one bounded set of
// them, which all configurations in use share, so that no number of reloads makes more. One more thread
// watches deadlines, and one looks at files that may change.
//
//   auto workers = std::make_shared<Workers>();
//   if (auto made = workers->reserve(BackendKind::ldap, 8); !made) fail(made.error());   // no threads to be
//   had workers->use(BackendKind::ldap, 8);          // the configuration is taken: surplus threads end
//   workers->submit(BackendKind::ldap, task, 256);
//   workers->stop();                             // the end of the process
//
// A task that waits may be refused (the queue is full, no worker was free in time, the process ends). One
// that a worker took runs until the backend returns; past its deadline it is answered without that thread,
// which is left alone.
#pragma once

#include <chrono>
#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <string>

#include "proxy/auth/fair_queue.h"
#include "proxy/auth/settings.h"

namespace portcullis::auth {

class Workers {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Refusal : std::uint8_t { queue_full, no_worker, stopping };

  class Task {
   public:
    virtual ~Task() = default;
    // On a worker; blocks. At most once, and not after refuse().
    virtual void run() noexcept = 0;
    // Instead of run(). Any thread, no lock held.
    virtual void refuse(Refusal why) noexcept = 0;
    // While run() is under way and its deadline has passed. False: run() has its answer already and is about
    // to return.
    virtual bool overdue() noexcept = 0;

    Claim claim;
    Clock::time_point start_by;  // refused unless a worker took it by then
    Clock::time_point due;       // of run()
  };

  Workers();
  ~Workers();  // stops
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Makes at least `count` threads for this kind, and those that watch. On failure there are as many as
  // before; the error is a sentence.
  std::expected<void, std::string> reserve(BackendKind kind, std::size_t count);
  // From now on `count` threads work, of those reserved. Surplus ones end when they are idle.
  void use(BackendKind kind, std::size_t count);
  std::size_t threads() const;  // of all kinds, without the watching ones

  void submit(BackendKind kind, std::shared_ptr<Task> task, std::size_t waiting_max);
  // Calls `look` about once a second, from a thread that may block, until `owner` is gone.
  void watch(std::weak_ptr<void> owner, std::function<void()> look);

  // Answers everything that waits or runs and ends the threads. Returns after all callbacks have, within a
  // fraction of a second whatever the backends do.
  void stop();
  // After stop(): threads are still inside a backend. Then the process must end without destroying what they
  // may use.
  bool stuck() const;

 private:
  struct Core;
  std::shared_ptr<Core> core_;  // shared with the threads: a stuck one may outlive this object
};

}  // namespace portcullis::auth
