#include "proxy/auth/backend_chain.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "policy/lockout.h"
#include "smtp/limits.h"
#include "tests/proxy/auth/fake_backend.h"

namespace portcullis::auth {
namespace {

using testing::answer;
using testing::ask;
using testing::FakeBackend;
using testing::FakeScript;
using testing::password_mechanisms;
using testing::request;
using testing::success;

// file, ldap, imap with what each says; the first without success is passed over.
struct OrderCase {
  const char* name;
  std::vector<Result> backends;
  Result expected;
  std::vector<int> asked;
};

class Order : public ::testing::TestWithParam<OrderCase> {
 protected:
  std::shared_ptr<Workers> workers_ = testing::workers();
};

TEST_P(Order, OfBackends) {
  BackendChain chain({.ttl_seconds = 0}, nullptr, {}, workers_);
  std::vector<std::shared_ptr<FakeScript>> scripts;
  const BackendKind kinds[] = {BackendKind::file, BackendKind::ldap, BackendKind::imap};
  for (std::size_t i = 0; i < GetParam().backends.size(); ++i) {
    auto script = std::make_shared<FakeScript>();
    script->ask = [result = GetParam().backends[i], i](const Query&, Deadline) {
      return answer(result, "said " + std::to_string(i));
    };
    scripts.push_back(script);
    chain.add(std::make_unique<FakeBackend>(script, kinds[i], password_mechanisms), {});
  }
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, GetParam().expected);
  for (std::size_t i = 0; i < scripts.size(); ++i) EXPECT_EQ(scripts[i]->asked, GetParam().asked[i]) << i;
}

constexpr Result ok = Result::success;
constexpr Result bad = Result::bad_credentials;
constexpr Result err = Result::backend_error;
constexpr Result not_taken = Result::unsupported;
INSTANTIATE_TEST_SUITE_P(
    BackendChain, Order,
    ::testing::Values(
        OrderCase{"first", {ok, bad}, ok, {1, 0}}, OrderCase{"second", {bad, ok}, ok, {1, 1}},
        OrderCase{"past_an_outage", {err, ok}, ok, {1, 1}}, OrderCase{"all_refuse", {bad, bad}, bad, {1, 1}},
        OrderCase{"outage_first", {err, bad}, err, {1, 1}}, OrderCase{"outage_last", {bad, err}, err, {1, 1}},
        OrderCase{"outage_between", {bad, err, bad}, err, {1, 1, 1}},
        OrderCase{"mechanism_not_taken", {not_taken, not_taken}, not_taken, {1, 1}},
        OrderCase{"mechanism_not_taken_by_one", {not_taken, bad}, bad, {1, 1}},
        OrderCase{"mechanism_not_taken_in_an_outage", {err, not_taken}, err, {1, 1}},
        OrderCase{"disabled_is_final", {Result::disabled, ok}, Result::disabled, {1, 0}},
        OrderCase{
            "expired_is_final", {bad, Result::password_expired, ok}, Result::password_expired, {1, 1, 0}}),
    [](const auto& tested) { return std::string(tested.param.name); });

class ChainTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakeScript> add(BackendChain& chain, std::uint8_t mechanisms = password_mechanisms,
                                  BackendKind kind = BackendKind::ldap) {
    auto script = std::make_shared<FakeScript>();
    script->ask = [](const Query& q, Deadline) {
      return q.secret.view() == "secret" ? success(q.login, "ldap") : answer(Result::bad_credentials);
    };
    chain.add(std::make_unique<FakeBackend>(script, kind, mechanisms), {});
    return script;
  }
  std::shared_ptr<Workers> workers_ = testing::workers();
};

TEST_F(ChainTest, RefusesWithoutAskingAnybody) {
  BackendChain chain({}, nullptr, {}, workers_);
  const auto script = add(chain);
  EXPECT_EQ(ask(chain, request("alice", "")).result, Result::bad_credentials);
  EXPECT_EQ(ask(chain, request("alice", std::string_view("a\0b", 3))).result, Result::bad_credentials);
  EXPECT_EQ(ask(chain, request("alice", std::string(smtp::limits::secret_octets + 1, 'x'))).result,
            Result::bad_credentials);
  EXPECT_EQ(ask(chain, request("", "secret")).result, Result::bad_credentials);
  EXPECT_EQ(ask(chain, request("al\nice", "secret")).result, Result::bad_credentials);
  EXPECT_EQ(ask(chain, request("alice", "token", smtp::Mechanism::xoauth2)).result, Result::unsupported);
  EXPECT_EQ(ask(chain, request("alice", "x", smtp::Mechanism::external)).result, Result::unsupported);
  EXPECT_EQ(script->asked, 0);
}

TEST_F(ChainTest, NoBackendsNoMechanisms) {
  BackendChain chain({}, nullptr, {}, workers_);
  EXPECT_EQ(chain.mechanisms(), 0);
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::unsupported);
}

TEST_F(ChainTest, OnlyBackendsThatTakeTheMechanismAreAsked) {
  BackendChain chain({}, nullptr, {}, workers_);
  const auto ldap = add(chain);
  const auto imap = add(chain, password_mechanisms | smtp::mech_xoauth2, BackendKind::imap);
  EXPECT_EQ(chain.mechanisms(), smtp::mech_plain | smtp::mech_login | smtp::mech_xoauth2);
  EXPECT_EQ(ask(chain, request("alice", "secret", smtp::Mechanism::xoauth2)).result, Result::success);
  EXPECT_EQ(ldap->asked, 0);
  EXPECT_EQ(imap->asked, 1);
}

TEST_F(ChainTest, TheAuthorizationIdentityMustBeTheLogin) {
  BackendChain chain({}, nullptr, {}, workers_);
  const auto script = add(chain);
  auto other = request("alice", "secret");
  other.credentials.authzid = "bob";
  EXPECT_EQ(ask(chain, other).result, Result::bad_credentials);
  EXPECT_EQ(script->asked, 0);
  auto same = request("alice", "secret");
  same.credentials.authzid = "ALICE";  // the same canonical identity
  EXPECT_EQ(ask(chain, same).result, Result::success);
}

TEST_F(ChainTest, OneIdentityWhateverTheSpelling) {
  int hits = 0;
  Observer observer;
  observer.cache_looked_up = [&](bool hit) { hits += hit ? 1 : 0; };
  BackendChain chain({}, nullptr, observer, workers_);
  const auto script = add(chain);
  EXPECT_EQ(ask(chain, request("Alice@Example.COM", "secret")).account.login, "alice@example.com");
  const auto again = ask(chain, request("alice@example.com", "secret", smtp::Mechanism::login));
  EXPECT_TRUE(again.cached);
  EXPECT_EQ(again.account.login, "alice@example.com");
  EXPECT_EQ(script->asked, 1);
  EXPECT_EQ(hits, 1);
}

TEST_F(ChainTest, ServesCachedSuccessesInAnOutageButNoRefusalThatNobodyMade) {
  BackendChain chain({}, nullptr, {}, workers_);
  const auto script = add(chain);
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::success);
  script->ask = [](const Query&, Deadline) { return answer(Result::backend_error, "down"); };
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::success);
  const auto other = ask(chain, request("bob", "secret"));
  EXPECT_EQ(other.result, Result::backend_error);
  EXPECT_EQ(other.detail, "ldap: down");
  script->ask = [](const Query& q, Deadline) { return success(q.login, "ldap"); };
  EXPECT_EQ(ask(chain, request("bob", "secret")).result, Result::success) << "the outage was not cached";
}

TEST_F(ChainTest, ANewPasswordIsTakenAtOnce) {
  BackendChain chain({}, nullptr, {}, workers_);
  const auto script = add(chain);
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::success);
  script->ask = [](const Query& q, Deadline) {
    return q.secret.view() == "new" ? success(q.login, "ldap") : answer(Result::bad_credentials);
  };
  EXPECT_EQ(ask(chain, request("alice", "new")).result, Result::success);
}

TEST_F(ChainTest, AnEditedLineMakesTheCacheForget) {
  BackendChain chain({}, nullptr, {}, workers_);
  const auto script = add(chain, password_mechanisms, BackendKind::file);
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::success);
  script->ask = [](const Query&, Deadline) { return answer(Result::bad_credentials); };
  EXPECT_TRUE(ask(chain, request("alice", "secret")).cached);
  ++script->version;
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::bad_credentials);
}

TEST_F(ChainTest, BruteForceControlComesFirst) {
  policy::LockoutRule rule;
  rule.distinct_passwords_per_login = 3;
  rule.failures_per_network = 1000;
  const auto lockout = std::make_shared<policy::Lockout>(rule);
  BackendChain chain({}, lockout, {}, workers_);
  const auto script = add(chain);
  std::uint32_t delay = 0;
  for (int i = 0; i < 3; ++i) {
    const auto outcome = ask(chain, request("alice", "guess " + std::to_string(i)));
    EXPECT_EQ(outcome.result, Result::bad_credentials);
    delay = std::max(delay, outcome.delay_ms);
  }
  EXPECT_GT(delay, 0U);
  const int asked = script->asked;
  const auto blocked = ask(chain, request("alice", "secret"));
  EXPECT_EQ(blocked.result, Result::blocked);
  EXPECT_NE(blocked.detail.find("the login is blocked"), std::string::npos) << blocked.detail;
  EXPECT_EQ(ask(chain, request("ALICE", "secret")).result, Result::blocked) << "another spelling";
  EXPECT_EQ(script->asked, asked);
  EXPECT_EQ(ask(chain, request("bob", "secret")).result, Result::success);
}

TEST_F(ChainTest, AStalePasswordCountsOnceAndAnOutageNever) {
  policy::LockoutRule rule;
  rule.distinct_passwords_per_login = 3;
  const auto lockout = std::make_shared<policy::Lockout>(rule);
  BackendChain chain({.ttl_seconds = 0}, lockout, {}, workers_);
  const auto script = add(chain);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(ask(chain, request("alice", "stale")).result, Result::bad_credentials);
  }
  script->ask = [](const Query&, Deadline) { return answer(Result::backend_error); };
  for (int i = 0; i < 4; ++i) {  // less than opens the breaker
    EXPECT_EQ(ask(chain, request("alice", "p" + std::to_string(i))).result, Result::backend_error);
  }
  script->ask = [](const Query& q, Deadline) { return success(q.login, "ldap"); };
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::success);
}

TEST_F(ChainTest, AStalePasswordCountsOnceOverReloads) {
  policy::LockoutRule rule;
  rule.distinct_passwords_per_login = 3;
  const auto lockout = std::make_shared<policy::Lockout>(rule);
  for (int reload = 0; reload < 5; ++reload) {
    BackendChain chain({.ttl_seconds = 0}, lockout, {}, workers_);
    add(chain);
    EXPECT_EQ(ask(chain, request("alice", "stale")).result, Result::bad_credentials) << reload;
  }
}

// Who asks a hundred questions before the first is answered gets no more answers than others.
TEST_F(ChainTest, GuessesAtTheSameTimeAreNoWayAroundABlock) {
  policy::LockoutRule rule;
  rule.failures_per_network = 3;
  rule.first_delay_ms = 0;
  const auto lockout = std::make_shared<policy::Lockout>(rule);
  std::promise<void> all_asked;
  const auto gate = all_asked.get_future().share();
  BackendChain chain({.ttl_seconds = 0}, lockout, {}, workers_);
  const auto script = add(chain);
  script->ask = [gate](const Query& q, Deadline) {
    gate.wait();
    return q.secret.view() == "right" ? success(q.login, "ldap") : answer(Result::bad_credentials);
  };
  std::mutex lock;
  std::map<Result, int> results;
  std::atomic<int> answered = 0;
  const auto count = [&](const Outcome& outcome) {
    const std::scoped_lock guard(lock);
    ++results[outcome.result];
    ++answered;
  };
  for (int i = 0; i < 50; ++i) chain.authenticate(request("alice", "guess " + std::to_string(i)), count);
  chain.authenticate(request("alice", "right"), count);
  all_asked.set_value();
  while (answered < 51) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_LE(results[Result::bad_credentials], 3);
  EXPECT_EQ(results[Result::success], 0);
}

TEST_F(ChainTest, WhatIsUnderWayIsAnsweredOnceAlthoughTheChainIsGone) {
  std::atomic<int> answered = 0;
  std::atomic<int> wrong = 0;
  {
    BackendChain chain({}, nullptr, {}, workers_);
    for (int i = 0; i < 2; ++i) {
      const auto script = add(chain);
      script->ask = [](const Query&, Deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        return answer(Result::bad_credentials);
      };
    }
    for (int i = 0; i < 50; ++i) {
      chain.authenticate(request("user" + std::to_string(i), "x"), [&](const Outcome& outcome) {
        ++answered;
        if (outcome.result != Result::backend_error && outcome.result != Result::bad_credentials) ++wrong;
      });
    }
  }
  while (answered < 25) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  workers_->stop();
  EXPECT_EQ(answered, 50);
  EXPECT_EQ(wrong, 0);
}

// A mail program's five connections, and ten thousand of them after a restart.
TEST_F(ChainTest, EqualQuestionsAtTheSameTimeAreAskedOnce) {
  BackendChain chain({.ttl_seconds = 0}, nullptr, {}, workers_);
  const auto script = add(chain);
  std::promise<void> all_asked;
  const auto gate = all_asked.get_future().share();
  script->ask = [gate](const Query& q, Deadline) {
    gate.wait();
    return q.secret.view() == "secret" ? success(q.login, "ldap") : answer(Result::bad_credentials);
  };
  std::atomic<int> good = 0;
  std::atomic<int> bad_ones = 0;
  const auto count = [&](const Outcome& outcome) {
    ++(outcome.result == Result::success && outcome.account.login == "alice" ? good : bad_ones);
  };
  for (int i = 0; i < 5; ++i) chain.authenticate(request("Alice", "secret"), count);
  chain.authenticate(request("alice", "another"), count);
  all_asked.set_value();
  while (good + bad_ones < 6) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(good, 5);
  EXPECT_EQ(bad_ones, 1);
  EXPECT_EQ(script->asked, 2);
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::success) << "asked anew when it is over";
  EXPECT_EQ(script->asked, 3);
}

TEST_F(ChainTest, AnEditWhileAQuestionIsUnderWayIsAQuestionOfItsOwn) {
  BackendChain chain({.ttl_seconds = 0}, nullptr, {}, workers_);
  const auto script = add(chain, password_mechanisms, BackendKind::file);
  std::promise<void> edited;
  const auto gate = edited.get_future().share();
  script->ask = [gate, &version = script->version](const Query& q, Deadline) {
    const bool before = version == 0;
    gate.wait();
    return before ? success(q.login, "file") : answer(Result::bad_credentials);
  };
  std::promise<Result> first;
  chain.authenticate(request("alice", "secret"),
                     [&](const Outcome& outcome) { first.set_value(outcome.result); });
  while (script->asked < 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  script->version = 1;
  std::promise<Result> second;
  chain.authenticate(request("alice", "secret"),
                     [&](const Outcome& outcome) { second.set_value(outcome.result); });
  edited.set_value();
  EXPECT_EQ(first.get_future().get(), Result::success);
  EXPECT_EQ(second.get_future().get(), Result::bad_credentials);
}

// One address guesses at a server that takes its time for wrong passwords, as Dovecot does.
TEST_F(ChainTest, AGuesserHoldsUpNobodyElse) {
  policy::LockoutRule rule;
  rule.mode = policy::Mode::off;
  BackendChain chain({.ttl_seconds = 0}, std::make_shared<policy::Lockout>(rule), {}, workers_);
  const auto script = add(chain);
  std::promise<void> over;
  const auto gate = over.get_future().share();
  script->ask = [gate](const Query& q, Deadline) {
    if (q.secret.view() == "secret") return success(q.login, "ldap");
    gate.wait();
    return answer(Result::bad_credentials);
  };
  std::atomic<int> guesses = 0;
  for (int i = 0; i < 99; ++i) {
    chain.authenticate(request("guess" + std::to_string(i), "wrong"), [&](const Outcome&) { ++guesses; });
  }
  for (std::uint8_t i = 0; i < 20; ++i) {
    Request owner = request("owner" + std::to_string(i), "secret");
    owner.client.octets = {198, 51, 100, i};
    EXPECT_EQ(ask(chain, std::move(owner)).result, Result::success) << int{i};
  }
  EXPECT_EQ(guesses, 0) << "the guesser was not held up at all";
  EXPECT_LE(script->asked, 20 + 4) << "one network holds half of the workers at most";
  over.set_value();
  while (guesses < 99) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

TEST_F(ChainTest, GuessesThatWaitedUntilTheirNetworkWasBlockedAreNotAsked) {
  policy::LockoutRule rule;
  rule.failures_per_network = 5;
  rule.first_delay_ms = 0;
  BackendChain chain({.ttl_seconds = 0}, std::make_shared<policy::Lockout>(rule), {}, workers_);
  const auto script = add(chain);
  std::atomic<int> blocked = 0;
  std::atomic<int> all = 0;
  for (int i = 0; i < 100; ++i) {
    chain.authenticate(request("alice" + std::to_string(i), "wrong"), [&](const Outcome& outcome) {
      if (outcome.result == Result::blocked) ++blocked;
      ++all;
    });
  }
  while (all < 100) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_GE(blocked, 95);
  EXPECT_LE(script->asked, 5 + 4) << "as many as were under way when the block began";
}

// A backend that finds one entry by several names, as a directory does: what is guessed at it counts once.
class AliasTest : public ChainTest {
 protected:
  AliasTest()
      : lockout_(std::make_shared<policy::Lockout>(rule())),
        chain_({.ttl_seconds = 0}, lockout_, {}, workers_) {
    script_ = add(chain_);
    script_->ask = [this](const Query& query, Deadline) {
      const std::string entry = "uid=alice,dc=example";
      if (!query.login.starts_with("alice")) return answer(Result::bad_credentials);
      Answer said = answer(Result::blocked);
      said.identity = entry;
      if (query.may_try && !query.may_try(entry)) return said;
      ++tried_;
      const bool right = query.secret.view() == "secret";
      said = right ? success(query.login, "ldap") : answer(Result::bad_credentials);
      said.identity = entry;
      return said;
    };
  }
  static policy::LockoutRule rule() {
    policy::LockoutRule rule;
    rule.distinct_passwords_per_login = 3;
    rule.first_delay_ms = rule.max_delay_ms = 0;
    return rule;
  }
  Result guess(const std::string& alias, const std::string& secret) {
    Request r = request("alice-" + alias, secret);
    r.client.octets[3] = static_cast<std::uint8_t>(++clients_);  // each from another network
    return ask(chain_, std::move(r)).result;
  }

  std::shared_ptr<policy::Lockout> lockout_;
  BackendChain chain_;
  std::shared_ptr<FakeScript> script_;
  std::atomic<int> tried_ = 0;
  int clients_ = 1;
};

TEST_F(AliasTest, GuessesAtOneEntryCountOnceWhateverNameWasTyped) {
  for (const char* const alias : {"a", "b", "c"}) EXPECT_EQ(guess(alias, std::string("wrong ") + alias), bad);
  for (const char* const alias : {"d", "e", "a"}) {
    EXPECT_EQ(guess(alias, "another"), Result::blocked) << alias;
    EXPECT_EQ(guess(alias, "secret"), Result::blocked) << "right or wrong: " << alias;
  }
  EXPECT_EQ(tried_, 3) << "the entry was not tried while it was blocked";
  EXPECT_EQ(
      lockout_->blocked_logins(std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now())),
      1U);
}

TEST_F(AliasTest, OnePasswordUnderManyNamesIsOneGuess) {
  for (const char* const alias : {"a", "b", "c", "d", "e", "f"})
    EXPECT_EQ(guess(alias, "stale"), bad) << alias;
  EXPECT_EQ(guess("g", "secret"), ok);
}

TEST_F(AliasTest, NamesWithoutAnEntryCountAsTyped) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ask(chain_, request("nobody", "wrong " + std::to_string(i))).result, bad);
  }
  EXPECT_EQ(ask(chain_, request("nobody", "wrong")).result, Result::blocked);
  EXPECT_EQ(guess("a", "secret"), ok);
}

}  // namespace
}  // namespace portcullis::auth
