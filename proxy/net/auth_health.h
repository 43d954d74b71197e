// Which authentication backends answer; backends outlive configurations. A backend is down from the moment
// its circuit breaker opens until a call or a probe is answered. While it is down it is probed: a balancer
// that looks at /readyz sends no client that could be the trial. Thread-safe.
#pragma once

#include <array>
#include <future>
#include <memory>
#include <mutex>
#include <string>

#include "metrics/journal.h"
#include "metrics/levels.h"
#include "proxy/auth/service.h"
#include "proxy/config/config.h"

namespace portcullis::net {

class AuthHealth {
 public:
  // What a report changed: nothing, or a backend went up or down, and why.
  struct Change {
    bool changed = false;
    bool up = true;
    std::string text;
  };
  Change breaker(auth::BackendKind backend, bool closed);
  Change probed(auth::BackendKind backend, bool answers, const std::string& text);
  void use(const config::Config& config);  // forgets backends that it does not have
  bool up(auth::BackendKind backend) const;
  bool any_down() const;
  // Why no listener that requires a login can take one: each backend is down. Empty: one answers, or no such
  // listener is there. Where a login is optional, mail is taken without.
  std::string not_ready(const config::Config& config) const;

 private:
  struct State {
    bool breaker_open = false;
    bool answers = false;  // the last probe, since the breaker opened
    std::string text;      // of the last probe
    bool up() const { return !breaker_open || answers; }
  };
  template <typename Report>
  Change report(auth::BackendKind backend, Report&& report);

  mutable std::mutex mutex_;
  std::array<State, 3> states_;  // by auth::BackendKind
};

struct Snapshot;

// An event and the metric.
void tell(metrics::Journal& journal, metrics::Levels& levels, auth::BackendKind backend,
          const AuthHealth::Change& change);

// Probes the backends that are down, on a thread of its own and one round at a time.
class AuthProber {
 public:
  AuthProber() = default;
  ~AuthProber();  // waits for a running round: 3 s at most
  AuthProber(const AuthProber&) = delete;
  AuthProber& operator=(const AuthProber&) = delete;
  void tick(std::int64_t mono_ms, const Snapshot& snapshot);

 private:
  std::future<void> round_;
  std::int64_t due_ms_ = 0;
};

}  // namespace portcullis::net
