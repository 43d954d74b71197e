#include "policy/lockout.h"

#include <gtest/gtest.h>

namespace portcullis::policy {
namespace {

using std::chrono::seconds;
using enum Lockout::Scope;
constexpr WallTime start{seconds{1'800'000'000}};
IpAddress ip(std::string_view text) { return *parse_ip(text); }

LockoutRule rule() {
  return {.failures_per_network = 20,
          .distinct_passwords_per_login = 5,
          .window_seconds = 900,
          .block_seconds = 600,
          .first_delay_ms = 500,
          .max_delay_ms = 3000,
          .remember_networks_days = 30};
}
const IpAddress home = ip("192.0.2.1");
const IpAddress attacker = ip("203.0.113.66");

TEST(Lockout, DistinctPasswordsBlockTheLoginAndDelaysGrow) {
  Lockout lockout(rule());
  EXPECT_EQ(lockout.before(attacker, "alice", start).delay_ms, 0U);
  const std::uint32_t delays[] = {500, 1000, 2000, 3000};
  for (std::uint64_t i = 0; i < 4; ++i) {
    const auto answer = lockout.failed(attacker, "alice", i, start);
    EXPECT_EQ(answer.delay_ms, delays[i]);
    EXPECT_EQ(answer.blocked_by, none);
    EXPECT_EQ(lockout.before(attacker, "alice", start).delay_ms, delays[i]);
  }
  EXPECT_EQ(lockout.failed(attacker, "alice", 4, start).blocked_by, login);
  EXPECT_EQ(lockout.before(attacker, "alice", start).blocked_by, login);
  EXPECT_EQ(lockout.before(attacker, "alice", start).retry_after_seconds, 600U);
  EXPECT_EQ(lockout.before(ip("198.51.100.1"), "alice", start).blocked_by, login)
      << "from everywhere unknown";
  EXPECT_EQ(lockout.before(attacker, "bob", start).blocked_by, none);
  EXPECT_EQ(lockout.blocked_logins(start), 1U);
  EXPECT_EQ(lockout.before(attacker, "alice", start + seconds{600}).blocked_by, none);
  EXPECT_EQ(lockout.blocked_logins(start + seconds{600}), 0U);
}

TEST(Lockout, ARuleThatChangesCountsAtOnce) {
  Lockout lockout(rule());
  for (std::uint64_t i = 0; i < 5; ++i) lockout.failed(attacker, "alice", i, start);
  ASSERT_EQ(lockout.before(attacker, "alice", start).blocked_by, login);
  LockoutRule changed = rule();
  changed.mode = Mode::off;
  lockout.use(changed);
  EXPECT_EQ(lockout.before(attacker, "alice", start).blocked_by, none);
  changed = rule();
  changed.distinct_passwords_per_login = 1;
  lockout.use(changed);
  EXPECT_EQ(lockout.before(attacker, "alice", start).blocked_by, login) << "what was known stays";
  EXPECT_EQ(lockout.failed(attacker, "bob", 1, start).blocked_by, login);
}

// A machine that starts with a wrong clock, which is then set.
TEST(Lockout, AClockThatWasAheadBlocksNobodyForLonger) {
  Lockout lockout(rule());
  const WallTime ahead = start + std::chrono::days(365);
  for (std::uint64_t i = 0; i < 5; ++i) lockout.failed(attacker, "alice", i, ahead);
  for (std::uint64_t i = 0; i < 4; ++i) lockout.failed(attacker, "bob", i, ahead);
  EXPECT_EQ(lockout.before(attacker, "alice", ahead).blocked_by, login);
  EXPECT_EQ(lockout.before(attacker, "alice", start).blocked_by, none);
  EXPECT_EQ(lockout.before(attacker, "bob", start).delay_ms, 0U)
      << "nor counts what failed in a year to come";
  // A step back by a little ends no block.
  EXPECT_EQ(lockout.before(attacker, "alice", ahead - seconds{30}).blocked_by, login);
  EXPECT_EQ(lockout.before(attacker, "bob", ahead - seconds{30}).delay_ms, 3000U);
}

TEST(Lockout, AStalePasswordCountsOnce) {
  Lockout lockout(rule());
  for (int i = 0; i < 10000; ++i) {
    const auto answer = lockout.failed(home, "alice", 42, start + seconds{i});
    ASSERT_EQ(answer.blocked_by, none);
    ASSERT_EQ(answer.delay_ms, 500U);
  }
  // In an office behind one address, everybody's stale password counts once.
  for (int round = 0; round < 50; ++round) {
    for (int user = 0; user < 15; ++user) {
      ASSERT_EQ(lockout.failed(ip("198.51.100.1"), "user" + std::to_string(user), 42, start).blocked_by,
                none);
    }
  }
}

TEST(Lockout, TheOwnerIsNotLockedOutWhereTheyLoggedInBefore) {
  Lockout lockout(rule());
  lockout.succeeded(home, "alice", start);
  for (std::uint64_t i = 0; i < 100; ++i) {
    lockout.failed(ip("203.0.113." + std::to_string(i)), "alice", i, start + seconds{1});
  }
  EXPECT_EQ(lockout.before(attacker, "alice", start + seconds{2}).blocked_by, login);
  const auto owner = lockout.before(home, "alice", start + seconds{2});
  EXPECT_EQ(owner.blocked_by, none);
  EXPECT_EQ(owner.delay_ms, 0U) << "others' failures do not slow the owner either";
  // IPv6: the /64 is the network.
  lockout.succeeded(ip("2001:db8::1"), "alice", start);
  EXPECT_EQ(lockout.before(ip("2001:db8::2"), "alice", start + seconds{2}).blocked_by, none);
  EXPECT_EQ(lockout.before(ip("2001:db8:0:1::1"), "alice", start + seconds{2}).blocked_by, login);
  // It is not remembered for ever.
  EXPECT_EQ(lockout.before(home, "alice", start + std::chrono::days{29}).blocked_by, none);
  const WallTime later = start + std::chrono::days{32};
  for (std::uint64_t i = 0; i < 5; ++i) lockout.failed(attacker, "alice", i, later);
  EXPECT_EQ(lockout.before(home, "alice", later).blocked_by, login);
}

TEST(Lockout, GuessingFromAKnownNetworkBlocksThereOnly) {
  Lockout lockout(rule());
  lockout.succeeded(home, "alice", start);
  lockout.succeeded(ip("198.51.100.1"), "alice", start);
  for (std::uint64_t i = 0; i < 5; ++i) lockout.failed(home, "alice", i, start);
  EXPECT_EQ(lockout.before(home, "alice", start).blocked_by, login);
  EXPECT_EQ(lockout.before(ip("198.51.100.1"), "alice", start).blocked_by, none);
  EXPECT_EQ(lockout.before(attacker, "alice", start).blocked_by, none);
}

TEST(Lockout, SprayingManyLoginsBlocksTheNetwork) {
  Lockout lockout(rule());
  lockout.succeeded(attacker, "mallory", start);
  lockout.succeeded(attacker, "owner", start);
  Lockout::Answer answer;
  for (std::uint64_t i = 0; i < 20; ++i) {
    // An account of the attacker's own does not clear the count.
    if (i == 10) lockout.succeeded(attacker, "mallory", start);
    answer = lockout.failed(attacker, "user" + std::to_string(i), 1, start);
    EXPECT_EQ(answer.delay_ms != 500, i >= 11 && i < 19)
        << "past half of its allowance the network is slowed down";
  }
  EXPECT_EQ(answer.blocked_by, network);
  EXPECT_EQ(lockout.before(attacker, "anybody", start).blocked_by, network);
  EXPECT_EQ(lockout.before(attacker, "mallory", start).blocked_by, none) << "used from there before";
  EXPECT_EQ(lockout.before(home, "user1", start).blocked_by, none);
  // Who shares the network with the attacker and logged in from it before is not locked out...
  EXPECT_EQ(lockout.before(attacker, "owner", start).blocked_by, none);
  EXPECT_EQ(lockout.before(attacker, "owner", start).delay_ms, 0U);
  EXPECT_EQ(lockout.failed(attacker, "owner", 7, start).blocked_by, none) << "not by one typo either";
  // ... but guessing their password from there has its own end.
  for (std::uint64_t i = 0; i < 5; ++i) lockout.failed(attacker, "owner", 100 + i, start);
  EXPECT_EQ(lockout.before(attacker, "owner", start).blocked_by, login);
  EXPECT_EQ(lockout.blocked_networks(start), 1U);
  EXPECT_EQ(lockout.blocked_networks(start + seconds{600}), 0U);
}

TEST(Lockout, SuccessForgivesTheOwnersTypos) {
  Lockout lockout(rule());
  lockout.succeeded(home, "alice", start);
  for (int round = 0; round < 4; ++round) {
    for (std::uint64_t i = 0; i < 4; ++i) {
      ASSERT_EQ(lockout.failed(home, "alice", i, start).blocked_by, none);
    }
    lockout.succeeded(home, "alice", start);
    EXPECT_EQ(lockout.before(home, "alice", start).delay_ms, 0U);
  }
}

TEST(Lockout, FailuresAreForgottenAfterTheWindow) {
  Lockout lockout(rule());
  for (std::uint64_t i = 0; i < 100; ++i) {
    const WallTime now = start + seconds{static_cast<std::int64_t>(i) * 300};
    ASSERT_EQ(lockout.failed(attacker, "alice", i, now).blocked_by, none) << i;
  }
  EXPECT_EQ(lockout.before(attacker, "alice", start + seconds{99 * 300 + 900}).delay_ms, 0U);
}

TEST(Lockout, ShadowOnlySays) {
  LockoutRule shadow = rule();
  shadow.mode = Mode::shadow;
  Lockout lockout(shadow);
  for (std::uint64_t i = 0; i < 10; ++i) lockout.failed(attacker, "alice", i, start);
  const auto answer = lockout.before(attacker, "alice", start);
  EXPECT_EQ(answer.blocked_by, none);
  EXPECT_EQ(answer.delay_ms, 0U);
  EXPECT_EQ(answer.would_block, login);
  shadow.mode = Mode::off;
  Lockout off(shadow);
  for (std::uint64_t i = 0; i < 10; ++i) off.failed(attacker, "alice", i, start);
  EXPECT_EQ(off.before(attacker, "alice", start).would_block, none);
}

TEST(Lockout, LimitsOfZeroNeverBlock) {
  LockoutRule open = rule();
  open.failures_per_network = 0;
  open.distinct_passwords_per_login = 0;
  Lockout lockout(open, 64);
  for (std::uint64_t i = 0; i < 3000; ++i) {
    ASSERT_EQ(lockout.failed(attacker, "alice", i, start).blocked_by, none);
  }
}

// A clock that was ahead for a moment, by 20 years: what it noted does not count, then or in 20 years.
TEST(Lockout, ANetworkNotedByAClockThatWasAheadIsNotKnown) {
  const IpNetwork network = network_of(home, 32, 64);
  const WallTime wrong = start + std::chrono::days(365 * 20);
  for (const int years : {0, 1, 19, 20}) {
    KnownNetworks known(30, 100);
    known.add("alice", network, wrong);
    EXPECT_FALSE(known.contains("alice", network, start)) << "noticed by the question";
    EXPECT_FALSE(known.contains("alice", network, start + std::chrono::days(365 * years))) << years;
  }
  KnownNetworks known(30, 100);
  known.add("alice", network, wrong);
  KnownNetworks after(30, 100);
  for (const auto& record : known.take_changed()) after.restore(record, start);
  EXPECT_FALSE(after.contains("alice", network, wrong)) << "nor after a restart";
  known.add("alice", network_of(attacker, 32, 64), start);
  EXPECT_FALSE(known.contains("alice", network, wrong)) << "nor after another login";
  known.add("alice", network, start);
  EXPECT_TRUE(known.contains("alice", network, start + std::chrono::days(30)))
      << "a login by the right clock counts";
}

TEST(Lockout, AClockThatGoesBackALittleForgetsNoNetwork) {
  KnownNetworks known(30, 100);
  const IpNetwork network = network_of(home, 32, 64);
  known.add("alice", network, start);
  EXPECT_TRUE(known.contains("alice", network, start - seconds{3600}));
  EXPECT_TRUE(known.contains("alice", network, start - std::chrono::days(1)));
}

TEST(Lockout, ABlockByAClockThatWasAheadEnds) {
  Lockout lockout(rule());
  const WallTime wrong = start + std::chrono::days(365 * 20);
  for (std::uint64_t i = 0; i < 5; ++i) lockout.failed(attacker, "alice", i, wrong);
  ASSERT_EQ(lockout.before(attacker, "alice", wrong).blocked_by, login);
  EXPECT_EQ(lockout.before(attacker, "alice", start).blocked_by, none);
  Lockout after(rule());
  after.restore({"alice", std::nullopt, wrong + seconds{600}}, start);
  EXPECT_LE(after.before(attacker, "alice", start).retry_after_seconds, 600U)
      << "no longer than a block lasts";
}

TEST(Lockout, KnownNetworksAreBoundedPerLogin) {
  KnownNetworks known(30, 100);
  for (unsigned i = 0; i < 100; ++i) {
    known.add("alice", network_of(ip("10.0." + std::to_string(i) + ".1"), 24, 64),
              start + std::chrono::days{i / 10});
  }
  const WallTime now = start + std::chrono::days{9};
  EXPECT_TRUE(known.contains("alice", network_of(ip("10.0.99.1"), 24, 64), now));
  EXPECT_FALSE(known.contains("alice", network_of(ip("10.0.0.1"), 24, 64), now));
  const auto records = known.take_changed();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].networks.size(), KnownNetworks::networks_per_login);
  known.add("alice", network_of(ip("10.0.99.1"), 24, 64), now);
  EXPECT_TRUE(known.take_changed().empty()) << "seen again the same day";
  for (int i = 0; i < 1000; ++i) known.add("user" + std::to_string(i), network_of(home, 32, 64), now);
  EXPECT_LE(known.logins(), 112U);
}

}  // namespace
}  // namespace portcullis::policy
