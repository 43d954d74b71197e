#include "proxy/auth/backend_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "tests/proxy/auth/fake_backend.h"

namespace portcullis::auth {
namespace {

using namespace std::chrono_literals;
using testing::answer;
using testing::FakeBackend;
using testing::FakeScript;
using testing::password_mechanisms;

// Each from a network of its own, unless told otherwise: here it is not about fairness.
BackendPool::Question query(std::uint8_t network = 0) {
  static std::atomic<std::uint32_t> networks = 0;
  auto q = std::make_shared<Query>();
  q->login = "alice";
  q->secret = smtp::Secret("secret");
  BackendPool::Question question;
  question.query = std::move(q);
  policy::IpAddress client;
  const std::uint32_t number = network != 0 ? network : 256 + ++networks;
  client.octets = {10, static_cast<std::uint8_t>(number >> 8U), static_cast<std::uint8_t>(number), 1};
  question.claim = {policy::network_of(client, 32, 64), policy::network_of(client, 24, 48),
                    "login" + std::to_string(number), Standing::known};
  return question;
}

// A door that holds callers back until it is opened.
class Gate {
 public:
  void open() {
    const std::scoped_lock guard(lock_);
    open_ = true;
    opened_.notify_all();
  }
  void pass() {
    std::unique_lock guard(lock_);
    opened_.wait(guard, [this] { return open_; });
  }

 private:
  std::mutex lock_;
  std::condition_variable opened_;
  bool open_ = false;
};

class Answers {
 public:
  BackendPool::Done collect() {
    return [this](Answer a) {
      const std::scoped_lock guard(lock_);
      all_.push_back(std::move(a));
      came_.notify_all();
    };
  }
  std::vector<Answer> wait_for(std::size_t count) {
    std::unique_lock guard(lock_);
    came_.wait_for(guard, 20s, [&] { return all_.size() >= count; });
    return all_;
  }

 private:
  std::mutex lock_;
  std::condition_variable came_;
  std::vector<Answer> all_;
};

class BackendPoolTest : public ::testing::Test {
 protected:
  BackendPool& start(const BackendLimits& limits) {
    BackendPool::Events events;
    events.called = [this](const BackendEvent& event) {
      const std::scoped_lock guard(lock_);
      called_.push_back(event.result);
    };
    events.state = [this](bool up) {
      const std::scoped_lock guard(lock_);
      states_.push_back(up);
    };
    events.not_asked = [this](NotAsked why) {
      const std::scoped_lock guard(lock_);
      not_asked_.push_back(why);
    };
    workers_ = testing::workers(limits.connections_max);
    pool_ = std::make_shared<BackendPool>(
        std::make_unique<FakeBackend>(script_, BackendKind::ldap, password_mechanisms), limits, events,
        workers_);
    return *pool_;
  }
  std::vector<bool> states() {
    const std::scoped_lock guard(lock_);
    return states_;
  }
  std::vector<Result> called() {
    const std::scoped_lock guard(lock_);
    return called_;
  }

  std::vector<NotAsked> not_asked() {
    const std::scoped_lock guard(lock_);
    return not_asked_;
  }

  std::shared_ptr<FakeScript> script_ = std::make_shared<FakeScript>();
  std::mutex lock_;
  std::vector<Result> called_;
  std::vector<bool> states_;
  std::vector<NotAsked> not_asked_;
  Answers answers_;
  std::shared_ptr<Workers> workers_;
  std::shared_ptr<BackendPool> pool_;
};

TEST_F(BackendPoolTest, AnswersEveryQueryOnce) {
  script_->ask = [](const Query& q, Deadline) { return testing::success(q.login, "ldap"); };
  auto& pool = start({.connections_max = 4, .waiting_max = 1000});
  for (int i = 0; i < 200; ++i) pool.submit(query(), answers_.collect());
  const auto all = answers_.wait_for(200);
  ASSERT_EQ(all.size(), 200U);
  for (const Answer& a : all) EXPECT_EQ(a.result, Result::success);
  EXPECT_EQ(script_->asked, 200);
  EXPECT_EQ(called().size(), 200U);
}

TEST_F(BackendPoolTest, ConcurrencyIsCapped) {
  Gate gate;
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  script_->ask = [&](const Query&, Deadline) {
    const int now = ++inside;
    int seen = most.load();
    while (now > seen && !most.compare_exchange_weak(seen, now)) {
    }
    gate.pass();
    --inside;
    return answer(Result::bad_credentials);
  };
  auto& pool = start({.connections_max = 3, .waiting_max = 100});
  for (int i = 0; i < 20; ++i) pool.submit(query(), answers_.collect());
  while (script_->asked < 3) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(script_->asked, 3);
  gate.open();
  EXPECT_EQ(answers_.wait_for(20).size(), 20U);
  EXPECT_EQ(most, 3);
}

TEST_F(BackendPoolTest, AFullQueueRefusesTheNewestOfWhoeverHasMostInIt) {
  Gate gate;
  script_->ask = [&](const Query&, Deadline) {
    gate.pass();
    return answer(Result::bad_credentials);
  };
  auto& pool = start({.connections_max = 1, .waiting_max = 2});
  pool.submit(query(), answers_.collect());
  while (script_->asked < 1) std::this_thread::sleep_for(1ms);
  std::atomic<int> refused = 0;
  const auto refuse = [&](const Answer& a) { refused += a.result == Result::backend_error ? 1 : 100; };
  pool.submit(query(1), answers_.collect());
  pool.submit(query(1), refuse);
  pool.submit(query(2), answers_.collect());  // takes the place of the other's second
  EXPECT_EQ(refused, 1);
  pool.submit(query(1), refuse);
  EXPECT_EQ(refused, 2) << "its own newest goes";
  EXPECT_EQ(not_asked(), (std::vector<NotAsked>{NotAsked::queue_full, NotAsked::queue_full}));
  gate.open();
  for (const Answer& a : answers_.wait_for(3)) EXPECT_EQ(a.result, Result::bad_credentials);
  EXPECT_TRUE(states().empty()) << "a full queue is no failure of the backend";
}

TEST_F(BackendPoolTest, LateAnswersAreDroppedAndWhatNoWorkerTookIsNoFailureOfTheBackend) {
  Gate gate;
  script_->ask = [&](const Query& q, Deadline) {
    gate.pass();
    return testing::success(q.login, "ldap");
  };
  auto& pool = start({.connections_max = 1, .waiting_max = 10, .deadline_ms = 200, .breaker_failures = 2});
  const auto begun = Clock::now();
  pool.submit(query(), answers_.collect());  // runs
  while (script_->asked < 1) std::this_thread::sleep_for(1ms);
  for (int i = 0; i < 3; ++i) pool.submit(query(), answers_.collect());
  const auto all = answers_.wait_for(4);
  const auto took = Clock::now() - begun;
  ASSERT_EQ(all.size(), 4U);
  for (const Answer& a : all) EXPECT_EQ(a.result, Result::backend_error);
  EXPECT_GE(took, 200ms);
  EXPECT_LT(took, 5s);
  EXPECT_EQ(called().size(), 1U);
  EXPECT_EQ(not_asked(), std::vector<NotAsked>(3, NotAsked::no_worker));
  EXPECT_TRUE(states().empty());
  gate.open();
  pool.submit(query(), answers_.collect());
  const auto after = answers_.wait_for(5);
  ASSERT_EQ(after.size(), 5U) << "the late success was answered a second time";
  EXPECT_EQ(after.back().result, Result::success);
  EXPECT_EQ(script_->asked, 2) << "an expired query is not asked any more";
}

TEST_F(BackendPoolTest, WhatIsNotWantedAnyLongerIsNotAsked) {
  script_->ask = [](const Query& q, Deadline) { return testing::success(q.login, "ldap"); };
  auto& pool = start({.connections_max = 1, .breaker_failures = 1});
  auto question = query();
  question.still_wanted = [] { return false; };
  pool.submit(std::move(question), answers_.collect());
  EXPECT_EQ(answers_.wait_for(1).front().result, Result::blocked);
  EXPECT_EQ(script_->asked, 0);
  EXPECT_TRUE(called().empty());
  EXPECT_TRUE(states().empty());
}

TEST_F(BackendPoolTest, ConnectionsAreKeptFromOneQuestionToTheNext) {
  script_->ask = [](const Query&, Deadline) { return answer(Result::bad_credentials); };
  auto& pool = start({.connections_max = 4});
  for (std::size_t i = 1; i <= 20; ++i) {
    pool.submit(query(), answers_.collect());
    answers_.wait_for(i);
  }
  EXPECT_LE(script_->askers, 2) << "one, and one more when it was not back yet";
}

TEST_F(BackendPoolTest, TheBreakerOpensAndATrialClosesIt) {
  std::atomic<bool> up = false;
  script_->ask = [&](const Query&, Deadline) {
    return answer(up ? Result::bad_credentials : Result::backend_error);
  };
  auto& pool = start({.connections_max = 1, .waiting_max = 10, .breaker_failures = 3, .breaker_seconds = 1});
  for (std::size_t i = 1; i <= 3; ++i) {
    pool.submit(query(), answers_.collect());
    answers_.wait_for(i);
  }
  EXPECT_EQ(states(), std::vector<bool>{false});
  pool.submit(query(), answers_.collect());
  EXPECT_EQ(answers_.wait_for(4).back().result, Result::backend_error);
  EXPECT_EQ(script_->asked, 3) << "the open breaker let a call through";
  up = true;
  std::this_thread::sleep_for(1050ms);
  pool.submit(query(), answers_.collect());
  EXPECT_EQ(answers_.wait_for(5).back().result, Result::bad_credentials);
  EXPECT_EQ(states(), (std::vector<bool>{false, true}));
  EXPECT_EQ(called().size(), 4U) << "refusals of the breaker are no backend calls";
  EXPECT_EQ(not_asked(), std::vector<NotAsked>{NotAsked::breaker_open});
}

TEST_F(BackendPoolTest, WhatConcernsOneLoginDoesNotOpenTheBreaker) {
  script_->ask = [&](const Query&, Deadline) {
    return Answer{Result::backend_error, {}, "two entries", true};
  };
  auto& pool = start({.connections_max = 1, .waiting_max = 10, .breaker_failures = 3});
  for (std::size_t i = 1; i <= 5; ++i) {
    pool.submit(query(), answers_.collect());
    answers_.wait_for(i);
  }
  EXPECT_EQ(script_->asked, 5);
  EXPECT_TRUE(states().empty());
}

TEST_F(BackendPoolTest, AnExceptionIsAnOutage) {
  script_->ask = [](const Query&, Deadline) -> Answer { throw std::runtime_error("boom"); };
  start({}).submit(query(), answers_.collect());
  const auto all = answers_.wait_for(1);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].result, Result::backend_error);
  EXPECT_EQ(all[0].detail, "boom");
}

TEST_F(BackendPoolTest, StoppingAnswersEverybodyAtOnceWhateverTheBackendDoes) {
  auto gate = std::make_shared<Gate>();
  auto left = std::make_shared<std::atomic<bool>>(false);
  script_->ask = [gate, left](const Query&, Deadline) {
    gate->pass();
    *left = true;
    return answer(Result::success);
  };
  auto& pool = start({.connections_max = 1, .waiting_max = 10, .deadline_ms = 60'000});
  pool.submit(query(), answers_.collect());
  while (script_->asked < 1) std::this_thread::sleep_for(1ms);
  pool.submit(query(), answers_.collect());
  const auto begun = Clock::now();
  workers_->stop();
  EXPECT_LT(Clock::now() - begun, 5s);
  EXPECT_TRUE(workers_->stuck());
  const auto all = answers_.wait_for(2);
  ASSERT_EQ(all.size(), 2U);
  for (const Answer& a : all) EXPECT_EQ(a.result, Result::backend_error);
  pool.submit(query(), answers_.collect());
  EXPECT_EQ(answers_.wait_for(3).back().result, Result::backend_error) << "after the stop";
  pool_.reset();
  gate->open();
  while (!*left) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(answers_.wait_for(3).size(), 3U);
}

TEST_F(BackendPoolTest, StoppingWhileAnswersComeLosesNone) {
  script_->ask = [](const Query&, Deadline) { return answer(Result::bad_credentials); };
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> answered = 0;
    auto& pool = start({.connections_max = 4, .waiting_max = 1000});
    for (int i = 0; i < 100; ++i) pool.submit(query(), [&](const Answer&) { ++answered; });
    workers_->stop();
    EXPECT_EQ(answered, 100);
    EXPECT_FALSE(workers_->stuck());
  }
}

}  // namespace
}  // namespace portcullis::auth
