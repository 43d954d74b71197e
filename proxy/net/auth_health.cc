#include "proxy/net/auth_health.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "proxy/auth/backend.h"
#include "proxy/net/snapshot.h"

namespace portcullis::net {

namespace {

constexpr std::int64_t interval_ms = 5'000;
constexpr std::chrono::seconds patience{3};

}  // namespace

template <typename Report>
AuthHealth::Change AuthHealth::report(auth::BackendKind backend, Report&& report) {
  const std::lock_guard lock(mutex_);
  State& state = states_[static_cast<std::size_t>(backend)];
  const bool was = state.up();
  report(state);
  return {was != state.up(), state.up(), state.text};
}

AuthHealth::Change AuthHealth::breaker(auth::BackendKind backend, bool closed) {
  return report(backend, [closed](State& state) {
    state.breaker_open = !closed;
    state.answers = false;
    state.text = closed ? "a login was answered" : "several calls in a row were not answered";
  });
}

AuthHealth::Change AuthHealth::probed(auth::BackendKind backend, bool answers, const std::string& text) {
  return report(backend, [&](State& state) {
    if (!state.breaker_open) return;
    state.answers = answers;
    state.text = text;
  });
}

void AuthHealth::use(const config::Config& config) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < states_.size(); ++i) {
    const auto& backends = config.auth.backends;
    if (std::ranges::find(backends, auth::BackendKind{static_cast<std::uint8_t>(i)}) == backends.end()) {
      states_[i] = {};
    }
  }
}

bool AuthHealth::up(auth::BackendKind backend) const {
  const std::lock_guard lock(mutex_);
  return states_[static_cast<std::size_t>(backend)].up();
}

bool AuthHealth::any_down() const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(states_, [](const State& state) { return state.breaker_open; });
}

std::string AuthHealth::not_ready(const config::Config& config) const {
  const bool needed = std::ranges::any_of(config.listeners, [](const config::Listener& listener) {
    return listener.auth == config::AuthMode::required;
  });
  if (!needed || config.auth.backends.empty()) return {};
  const std::lock_guard lock(mutex_);
  std::string reason;
  for (const auth::BackendKind backend : config.auth.backends) {
    const State& state = states_[static_cast<std::size_t>(backend)];
    if (state.up()) return {};
    reason += (reason.empty() ? "no login is possible: backend " : "; backend ") +
              std::string(auth::backend_name(backend)) + " is down: " + state.text;
  }
  return reason;
}

void tell(metrics::Journal& journal, metrics::Levels& levels, auth::BackendKind backend,
          const AuthHealth::Change& change) {
  if (!change.changed) return;
  levels.set<metrics::Metric::auth_backend_up>(metrics::Backend{static_cast<std::uint8_t>(backend)},
                                               change.up ? 1 : 0);
  journal.write(metrics::EventRecord{
      std::chrono::system_clock::now(),
      change.up ? metrics::EventRecord::Level::info : metrics::EventRecord::Level::error,
      change.up ? "auth_backend_up" : "auth_backend_down",
      {},
      {{"backend", std::string(auth::backend_name(backend))}, {"detail", change.text}},
      change.up ? "the authentication backend answers" : "the authentication backend does not answer"});
}

AuthProber::~AuthProber() {
  if (round_.valid()) round_.wait();
}

void AuthProber::tick(std::int64_t mono_ms, const Snapshot& snapshot) {
  const std::shared_ptr<AuthHealth>& health = snapshot.lasting.auth_health;
  if (mono_ms < due_ms_ || !health->any_down()) return;
  if (round_.valid() && round_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
  due_ms_ = mono_ms + interval_ms;
  // Where there is no thread to be had, the next round may have one.
  try {
    round_ =
        std::async(std::launch::async, [service = snapshot.auth, health, journal = snapshot.lasting.journal,
                                        telemetry = snapshot.lasting.telemetry] {
          for (const auth::Service::ProbeLine& line : service->probe(patience)) {
            tell(*journal, telemetry->levels, line.backend, health->probed(line.backend, line.ok, line.text));
          }
        });
  } catch (const std::system_error&) {
    return;
  }
}

}  // namespace portcullis::net
