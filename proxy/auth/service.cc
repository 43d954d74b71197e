#include "proxy/auth/service.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "proxy/auth/backend_chain.h"
#include "proxy/auth/backends.h"
#include "proxy/auth/user_file_backend.h"
#include "smtp/extensions.h"

namespace portcullis::auth {

std::string_view name_of(Result result) {
  switch (result) {
    case Result::success:
      return "success";
    case Result::bad_credentials:
      return "bad_credentials";
    case Result::backend_error:
      return "backend_error";
    case Result::blocked:
      return "blocked";
    case Result::disabled:
      return "disabled";
    case Result::password_expired:
      return "password_expired";
    case Result::unsupported:
      return "unsupported";
  }
  return "backend_error";
}

std::string_view backend_name(BackendKind kind) {
  switch (kind) {
    case BackendKind::file:
      return "file";
    case BackendKind::ldap:
      return "ldap";
    case BackendKind::imap:
      return "imap";
  }
  return "file";
}

std::uint8_t mechanism_bit(smtp::Mechanism mechanism) {
  switch (mechanism) {
    case smtp::Mechanism::plain:
      return smtp::mech_plain;
    case smtp::Mechanism::login:
      return smtp::mech_login;
    case smtp::Mechanism::xoauth2:
      return smtp::mech_xoauth2;
    case smtp::Mechanism::oauthbearer:
      return smtp::mech_oauthbearer;
    case smtp::Mechanism::external:
      return smtp::mech_external;
  }
  return 0;
}

namespace {

// Hashing needs no network: as many threads as it may use processors, and no breaker.
BackendLimits file_limits() {
  BackendLimits limits;
  limits.connections_max = std::clamp(std::thread::hardware_concurrency(), 1U, 4U);
  limits.waiting_max = 1024;
  limits.breaker_failures = 0;
  return limits;
}

}  // namespace

struct Service::Impl {
  Impl(Cache cache, std::shared_ptr<policy::Lockout> lockout, Observer o)
      : observer(o), chain(cache, std::move(lockout), std::move(o)) {}
  Observer observer;
  BackendChain chain;
  UserFileBackend* file = nullptr;  // the chain's
};

Service::Service(const Settings& settings, std::shared_ptr<policy::Lockout> lockout, Observer observer,
                 const Service* before)
    : impl_(std::make_unique<Impl>(settings.cache, std::move(lockout), std::move(observer))) {
  for (const BackendKind kind : settings.backends) {
    switch (kind) {
      case BackendKind::file: {
        std::function<void(const std::string&)> trouble;
        if (impl_->observer.backend_trouble) {
          trouble = [report = impl_->observer.backend_trouble](const std::string& text) {
            report(BackendKind::file, text);
          };
        }
        std::shared_ptr<const UserFileBackend::Accounts> known;
        const UserFileBackend* const old = before != nullptr ? before->impl_->file : nullptr;
        if (old != nullptr && old->path() == settings.file.path) known = old->accounts();
        auto file = std::make_unique<UserFileBackend>(settings.file.path, std::move(trouble),
                                                      std::chrono::seconds(1), std::move(known));
        impl_->file = file.get();
        impl_->chain.add(std::move(file), file_limits());
        break;
      }
      case BackendKind::ldap:
        impl_->chain.add(make_ldap_backend(settings.ldap), settings.ldap.limits);
        break;
      case BackendKind::imap:
        impl_->chain.add(make_imap_backend(settings.imap), settings.imap.limits);
        break;
    }
  }
}

Service::~Service() = default;

void Service::authenticate(Request request, std::function<void(Outcome)> done) {
  impl_->chain.authenticate(std::move(request), std::move(done));
}

std::uint8_t Service::mechanisms() const { return impl_->chain.mechanisms(); }

std::vector<Service::ProbeLine> Service::probe(std::chrono::seconds patience) {
  std::vector<ProbeLine> lines;
  impl_->chain.for_each([&lines, patience](Backend& backend) {
    auto said = backend.asker()->probe(Clock::now() + patience);
    lines.push_back({backend.kind(), said.has_value(), said ? std::move(*said) : std::move(said.error())});
  });
  return lines;
}

}  // namespace portcullis::auth
