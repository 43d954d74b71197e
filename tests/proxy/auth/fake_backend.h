// A backend that says what the test scripted, for the faults no real server produces on demand.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "proxy/auth/backend.h"
#include "proxy/auth/backend_chain.h"
#include "proxy/auth/workers.h"
#include "smtp/extensions.h"

namespace portcullis::auth::testing {

struct FakeScript {
  std::function<Answer(const Query&, Deadline)> ask;
  std::atomic<int> asked = 0;
  std::atomic<int> askers = 0;             // made
  std::atomic<std::uint64_t> version = 0;  // of every account
};

class FakeBackend : public Backend {
 public:
  FakeBackend(std::shared_ptr<FakeScript> script, BackendKind kind, std::uint8_t mechanisms)
      : script_(std::move(script)), kind_(kind), mechanisms_(mechanisms) {}
  BackendKind kind() const override { return kind_; }
  std::uint8_t mechanisms() const override { return mechanisms_; }
  std::uint64_t version_of(const std::string&) const override { return script_->version; }
  std::unique_ptr<Asker> asker() override {
    struct FakeAsker : Asker {
      explicit FakeAsker(std::shared_ptr<FakeScript> s) : script(std::move(s)) {}
      Answer ask(const Query& query, Deadline deadline) override {
        ++script->asked;
        return script->ask(query, deadline);
      }
      std::expected<std::string, std::string> probe(Deadline) override { return "fake"; }
      std::shared_ptr<FakeScript> script;
    };
    ++script_->askers;
    return std::make_unique<FakeAsker>(script_);
  }

 private:
  std::shared_ptr<FakeScript> script_;
  BackendKind kind_;
  std::uint8_t mechanisms_;
};

// Eight threads of each kind. A test keeps them until nothing is under way.
inline std::shared_ptr<Workers> workers(std::size_t threads = 8) {
  auto made = std::make_shared<Workers>();
  for (const BackendKind kind : {BackendKind::file, BackendKind::ldap, BackendKind::imap}) {
    if (!made->reserve(kind, threads)) throw std::runtime_error("no threads");
    made->use(kind, threads);
  }
  return made;
}

inline constexpr std::uint8_t password_mechanisms = smtp::mech_plain | smtp::mech_login;

inline Answer answer(Result result, std::string detail = {}) {
  Answer a;
  a.result = result;
  a.detail = std::move(detail);
  return a;
}

inline Answer success(std::string login, std::string backend) {
  Answer a;
  a.result = Result::success;
  a.account.login = std::move(login);
  a.account.backend = std::move(backend);
  return a;
}

inline Request request(std::string login, std::string_view secret,
                       smtp::Mechanism mechanism = smtp::Mechanism::plain) {
  Request r;
  r.credentials.mechanism = mechanism;
  r.credentials.authcid = std::move(login);
  r.credentials.secret = smtp::Secret(secret);
  r.client.octets = {192, 0, 2, 1};
  r.session_id = "test";
  return r;
}

// Asks and waits; fails loudly (by exception) rather than hang when no answer comes.
template <typename S>
Outcome ask(S& service, Request r) {
  auto promise = std::make_shared<std::promise<Outcome>>();
  auto future = promise->get_future();
  service.authenticate(std::move(r), [promise](Outcome outcome) { promise->set_value(std::move(outcome)); });
  if (future.wait_for(std::chrono::seconds(30)) != std::future_status::ready) {
    throw std::runtime_error("no answer");
  }
  return future.get();
}

}  // namespace portcullis::auth::testing
