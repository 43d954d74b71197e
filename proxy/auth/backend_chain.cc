#include "proxy/auth/backend_chain.h"

#include <algorithm>
#include <utility>

#include "smtp/limits.h"
#include "smtp/without_secret.h"

namespace portcullis::auth {

namespace {

policy::WallTime wall_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

void append_detail(std::string& detail, BackendKind kind, const std::string& text) {
  if (text.empty()) return;
  if (!detail.empty()) detail += "; ";
  detail += std::string(backend_name(kind)) + ": " + text;
}

// What brute-force control refuses; nullopt: nothing.
std::optional<Outcome> blocked(const policy::Lockout::Answer& answer) {
  if (answer.blocked_by == policy::Lockout::Scope::none) return std::nullopt;
  Outcome outcome;
  outcome.result = Result::blocked;
  outcome.delay_ms = answer.delay_ms;
  outcome.detail =
      answer.blocked_by == policy::Lockout::Scope::network ? "the client's network" : "the login";
  outcome.detail += " is blocked for " + std::to_string(answer.retry_after_seconds) + " s";
  return outcome;
}

}  // namespace

// One request on its way through the backends.
struct BackendChain::Walk {
  std::shared_ptr<const Query> query;
  policy::IpAddress client;
  std::string guessed_login;  // to brute-force control
  Digest key{};
  std::function<void(Outcome)> done;
  std::size_t next = 0;    // backend to ask
  bool any_error = false;  // one could not be asked: no refusal can be final (law 5)
  bool any_refusal = false;
  bool any_unsupported = false;  // one does not take the mechanism after all
  std::uint32_t delay_ms = 0;    // brute-force control holds every answer back, right or wrong
  std::uint64_t generation = 0;  // of all backends together, before the first was asked
  std::string detail;
};

BackendChain::BackendChain(Cache cache_settings, std::shared_ptr<policy::Lockout> l, Observer o)
    : lockout_(std::move(l)), observer_(std::move(o)), cache_(cache_settings) {}

BackendChain::~BackendChain() {
  // All at once: a query that goes on from one backend to the next finds that one stopped.
  for (const auto& pool : pools_) pool->stop();
  for (const auto& pool : pools_) pool->join();
}

void BackendChain::add(std::unique_ptr<Backend> backend, const BackendLimits& limits) {
  const BackendKind kind = backend->kind();
  BackendPool::Events events;
  events.called = observer_.backend_called;
  if (observer_.backend_state) {
    events.state = [report = observer_.backend_state, kind](bool up) { report(kind, up); };
  }
  pools_.push_back(std::make_unique<BackendPool>(std::move(backend), limits, std::move(events)));
}

std::uint64_t BackendChain::generation() const {
  std::uint64_t sum = 0;
  for (const auto& pool : pools_) sum += pool->backend().generation();
  return sum;
}

std::string BackendChain::guessed_login(const std::string& login) const {
  // An account of its own: its successes must not forgive what was tried on another one.
  if (std::ranges::any_of(pools_, [&](const auto& pool) { return pool->backend().has(login); })) return login;
  std::string name = login;
  for (const auto& pool : pools_) name = pool->backend().guessed_login(name);
  return name;
}

std::uint8_t BackendChain::mechanisms() const {
  std::uint8_t bits = 0;
  for (const auto& pool : pools_) bits |= pool->backend().mechanisms();
  return bits;
}

// What needs no backend to be refused.
std::optional<Outcome> BackendChain::refusal(const smtp::Credentials& credentials,
                                             const std::string& login) const {
  const auto refuse = [](Result result, std::string detail) {
    Outcome outcome;
    outcome.result = result;
    outcome.detail = std::move(detail);
    return outcome;
  };
  if ((mechanisms() & mechanism_bit(credentials.mechanism)) == 0) {
    return refuse(Result::unsupported, "no backend takes this mechanism");
  }
  if (login.empty()) return refuse(Result::bad_credentials, "not a valid login");
  // RFC 4616: acting for somebody else needs a permission that nothing here can grant.
  if (!credentials.authzid.empty() && policy::canonical_login(credentials.authzid) != login) {
    return refuse(Result::bad_credentials, "the authorization identity is another one than the login: " +
                                               credentials.authzid.substr(0, smtp::limits::login_octets));
  }
  const std::string_view secret = credentials.secret.view();
  if (secret.empty()) return refuse(Result::bad_credentials, "empty password");
  if (secret.size() > smtp::limits::secret_octets)
    return refuse(Result::bad_credentials, "over-long password");
  if (secret.find('\0') != std::string_view::npos)
    return refuse(Result::bad_credentials, "NUL in the password");
  return std::nullopt;
}

void BackendChain::authenticate(Request request, std::function<void(Outcome)> done) {
  // A canonical login is never empty.
  std::string login = policy::canonical_login(request.credentials.authcid).value_or(std::string());
  if (auto refused = refusal(request.credentials, login)) return done(std::move(*refused));

  auto walk = std::make_shared<Walk>();
  if (lockout_) {
    walk->guessed_login = guessed_login(login);
    const auto answer = lockout_->before(request.client, walk->guessed_login, wall_now());
    walk->delay_ms = answer.delay_ms;
    if (answer.would_block != policy::Lockout::Scope::none) walk->detail = "would be blocked (shadow mode)";
    if (auto refused = blocked(answer)) return done(std::move(*refused));
  }

  auto query = std::make_shared<Query>();
  query->login = std::move(login);
  query->mechanism = request.credentials.mechanism;
  query->secret = std::move(request.credentials.secret);
  walk->key = KeyedHash::of_process().of(query->login, query->mechanism, query->secret.view());
  walk->query = std::move(query);
  walk->client = request.client;
  walk->done = std::move(done);
  walk->generation = generation();
  if (answered_from_cache(*walk)) return;
  ask_next(std::move(walk));
}

bool BackendChain::answered_from_cache(Walk& walk) {
  if (cache_.settings().ttl_seconds == 0) return false;
  auto entry = cache_.find(walk.key, Clock::now());
  if (entry && entry->generation != walk.generation) {  // the user file was edited since
    cache_.drop(walk.key);
    entry.reset();
  }
  if (observer_.cache_looked_up) observer_.cache_looked_up(entry.has_value());
  if (!entry) return false;
  settle(walk, std::move(entry->answer), true);
  return true;
}

void BackendChain::ask_next(std::shared_ptr<Walk> walk) {
  const std::uint8_t bit = mechanism_bit(walk->query->mechanism);
  while (walk->next < pools_.size() && (pools_[walk->next]->backend().mechanisms() & bit) == 0) ++walk->next;
  if (walk->next == pools_.size()) {
    Answer last;
    last.result = Result::bad_credentials;
    if (!walk->any_refusal && walk->any_unsupported) last.result = Result::unsupported;
    if (walk->any_error) last.result = Result::backend_error;
    last.detail = std::move(walk->detail);
    if (!walk->any_error) cache_.put(walk->key, {last, walk->generation}, Clock::now());
    return settle(*walk, std::move(last), false);
  }
  BackendPool& pool = *pools_[walk->next];
  auto query = walk->query;
  pool.submit(std::move(query), [this, walk = std::move(walk)](Answer answer) mutable {
    took(std::move(walk), std::move(answer));
  });
}

void BackendChain::took(std::shared_ptr<Walk> walk, Answer answer) {
  const BackendKind kind = pools_[walk->next]->backend().kind();
  // Servers quote the command that they refuse (law 6).
  append_detail(walk->detail, kind,
                smtp::without_secret(std::move(answer.detail), walk->query->secret.view()));
  switch (answer.result) {
    case Result::backend_error:
      walk->any_error = true;
      break;
    case Result::success:
    case Result::disabled:
    case Result::password_expired:
      // The backend knows this account: what it says is final. (A disabled account must not get in
      // by way of the next backend.)
      answer.detail = std::move(walk->detail);
      cache_.put(walk->key, {answer, walk->generation}, Clock::now());
      return settle(*walk, std::move(answer), false);
    case Result::unsupported:
      walk->any_unsupported = true;
      break;
    default:
      walk->any_refusal = true;
      break;
  }
  ++walk->next;
  ask_next(std::move(walk));
}

void BackendChain::settle(Walk& walk, Answer answer, bool cached) {
  if (lockout_ && answer.result != Result::backend_error) {
    // A block that began while the backends were asked: who asks many questions before the first is answered
    // hears no more than others, right or wrong.
    if (auto refused = blocked(lockout_->before(walk.client, walk.guessed_login, wall_now()))) {
      return walk.done(std::move(*refused));
    }
  }
  Outcome outcome;
  outcome.result = answer.result;
  outcome.account = std::move(answer.account);
  outcome.cached = cached;
  outcome.delay_ms = walk.delay_ms;
  outcome.detail = std::move(answer.detail);
  if (lockout_ && outcome.result == Result::success) {
    lockout_->succeeded(walk.client, walk.guessed_login, wall_now());
  } else if (lockout_ && outcome.result == Result::bad_credentials) {
    const auto after = lockout_->failed(walk.client, walk.guessed_login, short_of(walk.key), wall_now());
    outcome.delay_ms = std::max(outcome.delay_ms, after.delay_ms);
  }
  walk.done(std::move(outcome));
}

void BackendChain::for_each(const std::function<void(Backend&)>& visit) {
  for (const auto& pool : pools_) visit(pool->backend());
}

}  // namespace portcullis::auth
