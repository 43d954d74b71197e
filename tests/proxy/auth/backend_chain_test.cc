#include "proxy/auth/backend_chain.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "policy/lockout.h"
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

class Order : public ::testing::TestWithParam<OrderCase> {};

TEST_P(Order, OfBackends) {
  BackendChain chain({.ttl_seconds = 0}, nullptr, {});
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
};

TEST_F(ChainTest, RefusesWithoutAskingAnybody) {
  BackendChain chain({}, nullptr, {});
  const auto script = add(chain);
  EXPECT_EQ(ask(chain, request("alice", "")).result, Result::bad_credentials);
  EXPECT_EQ(ask(chain, request("alice", std::string_view("a\0b", 3))).result, Result::bad_credentials);
  EXPECT_EQ(ask(chain, request("alice", std::string(8193, 'x'))).result, Result::bad_credentials);
  EXPECT_EQ(ask(chain, request("", "secret")).result, Result::bad_credentials);
  EXPECT_EQ(ask(chain, request("al\nice", "secret")).result, Result::bad_credentials);
  EXPECT_EQ(ask(chain, request("alice", "token", smtp::Mechanism::xoauth2)).result, Result::unsupported);
  EXPECT_EQ(ask(chain, request("alice", "x", smtp::Mechanism::external)).result, Result::unsupported);
  EXPECT_EQ(script->asked, 0);
}

TEST_F(ChainTest, NoBackendsNoMechanisms) {
  BackendChain chain({}, nullptr, {});
  EXPECT_EQ(chain.mechanisms(), 0);
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::unsupported);
}

TEST_F(ChainTest, OnlyBackendsThatTakeTheMechanismAreAsked) {
  BackendChain chain({}, nullptr, {});
  const auto ldap = add(chain);
  const auto imap = add(chain, password_mechanisms | smtp::mech_xoauth2, BackendKind::imap);
  EXPECT_EQ(chain.mechanisms(), smtp::mech_plain | smtp::mech_login | smtp::mech_xoauth2);
  EXPECT_EQ(ask(chain, request("alice", "secret", smtp::Mechanism::xoauth2)).result, Result::success);
  EXPECT_EQ(ldap->asked, 0);
  EXPECT_EQ(imap->asked, 1);
}

TEST_F(ChainTest, TheAuthorizationIdentityMustBeTheLogin) {
  BackendChain chain({}, nullptr, {});
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
  BackendChain chain({}, nullptr, observer);
  const auto script = add(chain);
  EXPECT_EQ(ask(chain, request("Alice@Example.COM", "secret")).account.login, "alice@example.com");
  const auto again = ask(chain, request("alice@example.com", "secret", smtp::Mechanism::login));
  EXPECT_TRUE(again.cached);
  EXPECT_EQ(again.account.login, "alice@example.com");
  EXPECT_EQ(script->asked, 1);
  EXPECT_EQ(hits, 1);
}

TEST_F(ChainTest, ServesCachedSuccessesInAnOutageButNoRefusalThatNobodyMade) {
  BackendChain chain({}, nullptr, {});
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
  BackendChain chain({}, nullptr, {});
  const auto script = add(chain);
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::success);
  script->ask = [](const Query& q, Deadline) {
    return q.secret.view() == "new" ? success(q.login, "ldap") : answer(Result::bad_credentials);
  };
  EXPECT_EQ(ask(chain, request("alice", "new")).result, Result::success);
}

TEST_F(ChainTest, AnEditedUserFileMakesTheCacheForget) {
  BackendChain chain({}, nullptr, {});
  const auto script = add(chain, password_mechanisms, BackendKind::file);
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::success);
  script->ask = [](const Query&, Deadline) { return answer(Result::bad_credentials); };
  EXPECT_TRUE(ask(chain, request("alice", "secret")).cached);
  ++script->generation;
  EXPECT_EQ(ask(chain, request("alice", "secret")).result, Result::bad_credentials);
}

TEST_F(ChainTest, BruteForceControlComesFirst) {
  policy::LockoutRule rule;
  rule.distinct_passwords_per_login = 3;
  rule.failures_per_network = 1000;
  const auto lockout = std::make_shared<policy::Lockout>(rule);
  BackendChain chain({}, lockout, {});
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
  BackendChain chain({.ttl_seconds = 0}, lockout, {});
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
    BackendChain chain({.ttl_seconds = 0}, lockout, {});
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
  BackendChain chain({.ttl_seconds = 0}, lockout, {});
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

TEST_F(ChainTest, DestructionAnswersEverybodyOnce) {
  std::atomic<int> answered = 0;
  std::atomic<int> wrong = 0;
  {
    BackendChain chain({}, nullptr, {});
    for (int i = 0; i < 2; ++i) {
      const auto script = add(chain);
      script->ask = [](const Query&, Deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
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
  EXPECT_EQ(answered, 50);
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace portcullis::auth
