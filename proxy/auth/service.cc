#include "proxy/auth/service.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "proxy/auth/backend_chain.h"
#include "proxy/auth/backends.h"
#include "proxy/auth/user_file_backend.h"
#include "proxy/auth/workers.h"
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
  limits.connections_max = std::clamp(std::thread::hardware_concurrency(), 2U, 4U);
  limits.waiting_max = 1024;
  limits.breaker_failures = 0;
  return limits;
}

BackendLimits limits_of(const Settings& settings, BackendKind kind) {
  switch (kind) {
    case BackendKind::file:
      return file_limits();
    case BackendKind::ldap:
      return settings.ldap.limits;
    case BackendKind::imap:
      return settings.imap.limits;
  }
  return {};
}

bool has(const Settings& settings, BackendKind kind) {
  return std::ranges::find(settings.backends, kind) != settings.backends.end();
}

constexpr BackendKind all_kinds[] = {BackendKind::file, BackendKind::ldap, BackendKind::imap};

// What a file was when a backend read it: certificate authorities may be replaced under the same name.
std::string stamp_of(const std::string& path) {
  struct stat status{};
  if (path.empty() || ::stat(path.c_str(), &status) != 0) return "-";
  std::string stamp;
  for (const auto part :
       {static_cast<std::int64_t>(status.st_dev), static_cast<std::int64_t>(status.st_ino),
        static_cast<std::int64_t>(status.st_size), static_cast<std::int64_t>(status.st_mtim.tv_sec),
        static_cast<std::int64_t>(status.st_mtim.tv_nsec)}) {
    stamp += std::to_string(part) + ' ';
  }
  return stamp;
}

constexpr char system_ca_file[] = "/etc/ssl/certs/ca-certificates.crt";

std::string authorities_stamp(const std::string& ca_file) {
  return stamp_of(ca_file.empty() ? system_ca_file : ca_file);
}

// Each service of a process has its own part of the numbers.
std::uint64_t next_generation() {
  static std::atomic<std::uint64_t> services = 0;
  return ++services << 32U;
}

}  // namespace

struct Service::Impl {
  Impl(const Settings& s, std::shared_ptr<policy::Lockout> lockout, const Observer& o,
       std::shared_ptr<Workers> w)
      : settings(s),
        ldap_authorities(authorities_stamp(s.ldap.ca_file)),
        imap_authorities(authorities_stamp(s.imap.ca_file)),
        observer(o),
        workers(std::move(w)),
        chain(s.cache, std::move(lockout), o, workers) {}

  bool same_backend(BackendKind kind, const Impl& other) const;
  void add(BackendKind kind);
  void add_file();
  std::shared_ptr<BackendPool> pool(BackendKind kind) const;

  const Settings settings;
  const std::string ldap_authorities;
  const std::string imap_authorities;
  const Observer observer;
  const std::shared_ptr<Workers> workers;
  BackendChain chain;
  const std::uint64_t first_generation = next_generation();
};

// Whether the other one's backend can stand for ours.
bool Service::Impl::same_backend(BackendKind kind, const Impl& other) const {
  if (!has(other.settings, kind) || workers != other.workers) return false;
  switch (kind) {
    case BackendKind::file:
      return settings.file == other.settings.file;
    case BackendKind::ldap:
      return settings.ldap == other.settings.ldap && ldap_authorities == other.ldap_authorities;
    case BackendKind::imap:
      return settings.imap == other.settings.imap && imap_authorities == other.imap_authorities;
  }
  return false;
}

std::shared_ptr<BackendPool> Service::Impl::pool(BackendKind kind) const {
  const auto& pools = chain.pools();
  const auto found =
      std::ranges::find_if(pools, [&](const auto& pool) { return pool->backend().kind() == kind; });
  return found == pools.end() ? nullptr : *found;
}

void Service::Impl::add_file() {
  std::function<void(const std::string&)> trouble;
  if (observer.backend_trouble) {
    trouble = [report = observer.backend_trouble](const std::string& text) {
      report(BackendKind::file, text);
    };
  }
  auto backend = std::make_unique<UserFileBackend>(settings.file.path, std::move(trouble));
  UserFileBackend* const raw = backend.get();
  chain.add(std::move(backend), file_limits());
  workers->watch(chain.pools().back(), [raw] { raw->look(); });
}

void Service::Impl::add(BackendKind kind) {
  switch (kind) {
    case BackendKind::file:
      return add_file();
    case BackendKind::ldap:
      return chain.add(make_ldap_backend(settings.ldap), settings.ldap.limits);
    case BackendKind::imap:
      return chain.add(make_imap_backend(settings.imap), settings.imap.limits);
  }
}

Service::Service(const Settings& settings, std::shared_ptr<policy::Lockout> lockout, Observer observer,
                 std::shared_ptr<Workers> workers, const Service* before)
    : impl_(std::make_unique<Impl>(settings, std::move(lockout), observer, std::move(workers))) {
  for (const BackendKind kind : settings.backends) {
    if (before != nullptr && impl_->same_backend(kind, *before->impl_)) {
      impl_->chain.add(before->impl_->pool(kind));
    } else {
      impl_->add(kind);
    }
  }
  look();
}

Service::~Service() = default;

bool Service::serves(const Settings& settings) const {
  const Settings& ours = impl_->settings;
  return ours.backends == settings.backends && ours.file == settings.file && ours.ldap == settings.ldap &&
         ours.imap == settings.imap && ours.cache == settings.cache &&
         impl_->ldap_authorities == authorities_stamp(settings.ldap.ca_file) &&
         impl_->imap_authorities == authorities_stamp(settings.imap.ca_file);
}

void Service::look() {
  if (const auto pool = impl_->pool(BackendKind::file)) static_cast<UserFileBackend&>(pool->backend()).look();
}

std::uint64_t Service::generation() const {
  std::uint64_t sum = impl_->first_generation;
  for (const auto& pool : impl_->chain.pools()) sum += pool->backend().generation();
  return sum;
}

AccountState Service::look_again(policy::Account& account) const {
  for (const BackendKind kind : all_kinds) {
    if (account.backend != backend_name(kind)) continue;
    const auto pool = impl_->pool(kind);
    return pool == nullptr ? AccountState::gone : pool->backend().look_again(account);
  }
  return AccountState::not_known;
}

void Service::authenticate(Request request, std::function<void(Outcome)> done) {
  impl_->chain.authenticate(std::move(request), std::move(done));
}

std::uint8_t Service::mechanisms() const { return impl_->chain.mechanisms(); }

std::vector<Service::ProbeLine> Service::probe(std::chrono::seconds patience) {
  std::vector<ProbeLine> lines;
  for (const auto& pool : impl_->chain.pools()) {
    auto said = pool->backend().asker()->probe(Clock::now() + patience);
    lines.push_back(
        {pool->backend().kind(), said.has_value(), said ? std::move(*said) : std::move(said.error())});
  }
  return lines;
}

std::expected<void, std::string> reserve_workers(Workers& workers, const Settings& settings) {
  for (const BackendKind kind : settings.backends) {
    if (auto made = workers.reserve(kind, limits_of(settings, kind).connections_max); !made) return made;
  }
  return {};
}

void use_workers(Workers& workers, const Settings& settings) {
  for (const BackendKind kind : all_kinds) {
    workers.use(kind, has(settings, kind) ? limits_of(settings, kind).connections_max : 0);
  }
}

}  // namespace portcullis::auth
