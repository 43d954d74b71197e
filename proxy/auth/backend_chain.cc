#include "proxy/auth/backend_chain.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "proxy/auth/keyed_hash.h"
#include "proxy/auth/suspects.h"
#include "smtp/limits.h"
#include "smtp/without_secret.h"

namespace portcullis::auth {

namespace {

constexpr std::size_t waiters_max = 1000;  // for one answer

policy::WallTime wall_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

void append_detail(std::string& detail, const std::string& text) {
  if (text.empty()) return;
  if (!detail.empty()) detail += "; ";
  detail += text;
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

// Somebody who waits for an answer.
struct Waiter {
  policy::IpAddress client;
  policy::IpNetwork network;
  std::string guessed_login;  // to brute-force control, until a backend has found the entry
  Standing standing = Standing::fresh;
  std::uint32_t delay_ms = 0;  // brute-force control holds every answer back, right or wrong
  std::string note;            // for the journal, before what the backends say
  std::function<void(Outcome)> done;
};

// One question on its way through the backends.
struct Walk {
  std::shared_ptr<const Query> query;
  Claim claim;
  Digest key{};
  std::uint64_t version = 0;  // of the account, before the first was asked
  std::size_t next = 0;       // backend to ask
  bool any_error = false;     // one could not be asked: no refusal can be final (law 5)
  bool any_refusal = false;
  bool any_unsupported = false;  // one does not take the mechanism after all
  std::string detail;
  std::string identity;         // of the entry that a refusal was about
  std::vector<Waiter> waiters;  // guarded by State::lock
};

// What brute-force control knows a wrong password by: the same one under two aliases is one guess.
Digest guess_of(const Answer& answer, const Digest& key, smtp::Mechanism mechanism,
                const smtp::Secret& secret) {
  return answer.identity.empty() ? key
                                 : KeyedHash::of_process().of(answer.identity, mechanism, secret.view());
}

}  // namespace

struct BackendChain::State : std::enable_shared_from_this<State> {
  State(Cache settings, std::shared_ptr<policy::Lockout> l, Observer o, std::shared_ptr<Workers> w)
      : lockout(std::move(l)), observer(std::move(o)), cache(settings), workers(std::move(w)) {}

  // `login` canonical, empty when it is not valid.
  std::optional<Outcome> refusal(const smtp::Credentials& credentials, const std::string& login) const;
  std::uint8_t mechanisms() const;
  std::uint64_t version_of(const std::string& login) const;
  std::string guessed_login(const std::string& login) const;
  void authenticate(Request request, std::function<void(Outcome)> done);
  std::optional<Answer> cached(const Digest& key, std::uint64_t version);
  bool joined(const Digest& key, std::uint64_t version, Waiter& waiter);
  bool still_wanted(const Walk& walk);
  void ask_next(std::shared_ptr<Walk> walk);
  void took(std::shared_ptr<Walk> walk, Answer answer);
  void finish(const std::shared_ptr<Walk>& walk, const Answer& answer);
  void settle(Waiter& waiter, const Digest& key, const Answer& answer, bool cached);

  const std::shared_ptr<policy::Lockout> lockout;
  const Observer observer;
  OutcomeCache cache;
  const std::shared_ptr<Workers> workers;
  std::vector<std::shared_ptr<BackendPool>> pools;
  Suspects suspects;
  std::mutex lock;  // guards what follows
  std::map<Digest, std::shared_ptr<Walk>> under_way;
};

BackendChain::BackendChain(Cache cache, std::shared_ptr<policy::Lockout> lockout, Observer observer,
                           std::shared_ptr<Workers> workers)
    : state_(std::make_shared<State>(cache, std::move(lockout), std::move(observer), std::move(workers))) {}

BackendChain::~BackendChain() = default;

void BackendChain::add(std::unique_ptr<Backend> backend, const BackendLimits& limits) {
  const BackendKind kind = backend->kind();
  const Observer& observer = state_->observer;
  BackendPool::Events events;
  events.called = observer.backend_called;
  if (observer.backend_not_asked) {
    events.not_asked = [report = observer.backend_not_asked, kind](NotAsked why) { report(kind, why); };
  }
  if (observer.backend_state) {
    events.state = [report = observer.backend_state, kind](bool up) { report(kind, up); };
  }
  add(std::make_shared<BackendPool>(std::move(backend), limits, std::move(events), state_->workers));
}

void BackendChain::add(std::shared_ptr<BackendPool> pool) { state_->pools.push_back(std::move(pool)); }

void BackendChain::authenticate(Request request, std::function<void(Outcome)> done) {
  state_->authenticate(std::move(request), std::move(done));
}

std::uint8_t BackendChain::mechanisms() const { return state_->mechanisms(); }

const std::vector<std::shared_ptr<BackendPool>>& BackendChain::pools() const { return state_->pools; }

std::uint64_t BackendChain::State::version_of(const std::string& login) const {
  std::uint64_t version = 0;
  for (const auto& pool : pools) version = version * 31 + pool->backend().version_of(login);
  return version;
}

std::string BackendChain::State::guessed_login(const std::string& login) const {
  // An account of its own: its successes must not forgive what was tried on another one.
  if (std::ranges::any_of(pools, [&](const auto& pool) { return pool->backend().has(login); })) return login;
  std::string name = login;
  for (const auto& pool : pools) name = pool->backend().guessed_login(name);
  return name;
}

std::uint8_t BackendChain::State::mechanisms() const {
  std::uint8_t bits = 0;
  for (const auto& pool : pools) bits |= pool->backend().mechanisms();
  return bits;
}

// What needs no backend to be refused.
std::optional<Outcome> BackendChain::State::refusal(const smtp::Credentials& credentials,
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

void BackendChain::State::authenticate(Request request, std::function<void(Outcome)> done) {
  // A canonical login is never empty.
  std::string login = policy::canonical_login(request.credentials.authcid).value_or(std::string());
  if (auto refused = refusal(request.credentials, login)) return done(std::move(*refused));

  Waiter waiter;
  waiter.client = request.client;
  waiter.network = policy::network_of(request.client, 32, 64);
  waiter.guessed_login = guessed_login(login);
  if (suspects.contains(waiter.network, Clock::now())) waiter.standing = Standing::suspect;
  if (lockout) {
    const auto answer = lockout->before(request.client, waiter.guessed_login, wall_now());
    waiter.delay_ms = answer.delay_ms;
    if (answer.would_block != policy::Lockout::Scope::none) waiter.note = "would be blocked (shadow mode)";
    if (auto refused = blocked(answer)) return done(std::move(*refused));
    if (lockout->known_networks().contains(waiter.guessed_login, waiter.network, wall_now())) {
      waiter.standing = Standing::known;
    }
  }
  waiter.done = std::move(done);

  const std::string_view secret = request.credentials.secret.view();
  const Digest key = KeyedHash::of_process().of(login, request.credentials.mechanism, secret);
  const std::uint64_t version = version_of(login);
  if (const auto answer = cached(key, version)) {
    const smtp::Credentials& asked = request.credentials;
    return settle(waiter, guess_of(*answer, key, asked.mechanism, asked.secret), *answer, true);
  }
  if (joined(key, version, waiter)) return;

  auto query = std::make_shared<Query>();
  query->login = std::move(login);
  query->mechanism = request.credentials.mechanism;
  query->secret = std::move(request.credentials.secret);
  if (lockout) {
    query->may_try = [lockout = lockout, client = request.client](const std::string& identity) {
      return lockout->before(client, identity, wall_now()).blocked_by == policy::Lockout::Scope::none;
    };
  }
  auto walk = std::make_shared<Walk>();
  walk->claim = {waiter.network, policy::network_of(request.client, 24, 48), waiter.guessed_login,
                 waiter.standing};
  walk->key = key;
  walk->version = version;
  walk->query = std::move(query);
  walk->waiters.push_back(std::move(waiter));
  {
    const std::scoped_lock guard(lock);
    under_way[key] = walk;
  }
  ask_next(std::move(walk));
}

std::optional<Answer> BackendChain::State::cached(const Digest& key, std::uint64_t version) {
  if (cache.settings().ttl_seconds == 0) return std::nullopt;
  auto entry = cache.find(key, Clock::now());
  if (entry && entry->version != version) {  // the account's line in the user file was edited since
    cache.drop(key);
    entry.reset();
  }
  if (observer.cache_looked_up) observer.cache_looked_up(entry.has_value());
  if (!entry) return std::nullopt;
  return std::move(entry->answer);
}

// Whether the same is asked already. Not by somebody who waits longer than this one has to: a guesser must
// not hold an owner up by asking the same.
bool BackendChain::State::joined(const Digest& key, std::uint64_t version, Waiter& waiter) {
  const std::scoped_lock guard(lock);
  const auto found = under_way.find(key);
  if (found == under_way.end()) return false;
  Walk& walk = *found->second;
  if (walk.version != version || walk.claim.standing > waiter.standing ||
      walk.waiters.size() >= waiters_max) {
    return false;
  }
  walk.waiters.push_back(std::move(waiter));
  return true;
}

// Guesses that waited while brute-force control came to block whoever made them are not asked.
bool BackendChain::State::still_wanted(const Walk& walk) {
  if (!lockout) return true;
  const std::scoped_lock guard(lock);
  return std::ranges::any_of(walk.waiters, [this](const Waiter& waiter) {
    return !blocked(lockout->before(waiter.client, waiter.guessed_login, wall_now()));
  });
}

void BackendChain::State::ask_next(std::shared_ptr<Walk> walk) {
  const std::uint8_t bit = mechanism_bit(walk->query->mechanism);
  while (walk->next < pools.size() && (pools[walk->next]->backend().mechanisms() & bit) == 0) ++walk->next;
  if (walk->next == pools.size()) {
    Answer last;
    last.result = Result::bad_credentials;
    if (!walk->any_refusal && walk->any_unsupported) last.result = Result::unsupported;
    if (walk->any_error) last.result = Result::backend_error;
    last.detail = std::move(walk->detail);
    last.identity = std::move(walk->identity);
    if (!walk->any_error) cache.put(walk->key, {last, walk->version}, Clock::now());
    return finish(walk, last);
  }
  const auto self = shared_from_this();
  BackendPool::Question question{walk->query, walk->claim,
                                 [self, walk] { return self->still_wanted(*walk); }};
  pools[walk->next]->submit(std::move(question), [self, walk](Answer answer) mutable {
    self->took(std::move(walk), std::move(answer));
  });
}

void BackendChain::State::took(std::shared_ptr<Walk> walk, Answer answer) {
  // Servers quote the command that they refuse (law 6).
  answer.detail = smtp::without_secret(std::move(answer.detail), walk->query->secret.view());
  if (!answer.detail.empty()) {
    const BackendKind kind = pools[walk->next]->backend().kind();
    append_detail(walk->detail, std::string(backend_name(kind)) + ": " + answer.detail);
  }
  switch (answer.result) {
    case Result::backend_error:
      walk->any_error = true;
      break;
    case Result::blocked:
      return finish(walk, answer);
    case Result::success:
    case Result::disabled:
    case Result::password_expired:
      // The backend knows this account: what it says is final. (A disabled account must not get in
      // by way of the next backend.)
      answer.detail = std::move(walk->detail);
      cache.put(walk->key, {answer, walk->version}, Clock::now());
      return finish(walk, answer);
    case Result::unsupported:
      walk->any_unsupported = true;
      break;
    default:
      walk->any_refusal = true;
      if (walk->identity.empty()) walk->identity = std::move(answer.identity);
      break;
  }
  ++walk->next;
  ask_next(std::move(walk));
}

void BackendChain::State::finish(const std::shared_ptr<Walk>& walk, const Answer& answer) {
  std::vector<Waiter> waiters;
  {
    const std::scoped_lock guard(lock);
    const auto found = under_way.find(walk->key);
    if (found != under_way.end() && found->second == walk) under_way.erase(found);
    waiters.swap(walk->waiters);
  }
  const Digest guess = guess_of(answer, walk->key, walk->query->mechanism, walk->query->secret);
  for (Waiter& waiter : waiters) settle(waiter, guess, answer, false);
}

void BackendChain::State::settle(Waiter& waiter, const Digest& key, const Answer& answer, bool cached) {
  // A guess is one at the entry, whichever of its aliases was typed.
  const std::string& guessed = answer.identity.empty() ? waiter.guessed_login : answer.identity;
  if (lockout && answer.result != Result::backend_error) {
    // A block that began while the backends were asked: who asks many questions before the first is answered
    // hears no more than others, right or wrong.
    const auto before = lockout->before(waiter.client, guessed, wall_now());
    if (auto refused = blocked(before)) return waiter.done(std::move(*refused));
    waiter.delay_ms = std::max(waiter.delay_ms, before.delay_ms);
  }
  Outcome outcome;
  outcome.result = answer.result;
  outcome.account = answer.account;
  outcome.cached = cached;
  outcome.delay_ms = waiter.delay_ms;
  outcome.detail = std::move(waiter.note);
  append_detail(outcome.detail, answer.detail);
  if (outcome.result == Result::bad_credentials && waiter.standing != Standing::known) {
    suspects.note(waiter.network, Clock::now());
  }
  if (lockout && outcome.result == Result::success) {
    lockout->succeeded(waiter.client, guessed, wall_now());
  } else if (lockout && outcome.result == Result::bad_credentials) {
    const auto after = lockout->failed(waiter.client, guessed, short_of(key), wall_now());
    outcome.delay_ms = std::max(outcome.delay_ms, after.delay_ms);
  }
  waiter.done(std::move(outcome));
}

}  // namespace portcullis::auth
