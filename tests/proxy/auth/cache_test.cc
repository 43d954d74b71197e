#include "proxy/auth/cache.h"

#include <gtest/gtest.h>

#include "tests/proxy/auth/fake_backend.h"

namespace portcullis::auth {
namespace {

using smtp::Mechanism;
using testing::answer;
using testing::success;
const Clock::time_point start = Clock::time_point() + std::chrono::hours(1);

Digest key(std::uint8_t n) {
  Digest digest{};
  digest[0] = n;
  return digest;
}

OutcomeCache::Entry entry(Answer a) { return {std::move(a), 0}; }

TEST(KeyedHash, DependsOnEveryPart) {
  const KeyedHash hash;
  const Digest base = hash.of("alice", Mechanism::plain, "secret");
  EXPECT_EQ(base, hash.of("alice", Mechanism::plain, "secret"));
  EXPECT_EQ(base, hash.of("alice", Mechanism::login, "secret")) << "the same password question";
  EXPECT_NE(base, hash.of("alice", Mechanism::xoauth2, "secret"));
  EXPECT_NE(hash.of("alice", Mechanism::oauthbearer, "t"), hash.of("alice", Mechanism::xoauth2, "t"));
  EXPECT_NE(base, hash.of("bob", Mechanism::plain, "secret"));
  EXPECT_NE(base, hash.of("alice", Mechanism::plain, "secret2"));
  EXPECT_NE(base, KeyedHash().of("alice", Mechanism::plain, "secret")) << "another key";
  EXPECT_EQ(short_of(base), short_of(base));
}

TEST(OutcomeCache, SuccessAndRefusalHaveTheirOwnTime) {
  OutcomeCache cache({.ttl_seconds = 300, .negative_ttl_seconds = 10, .entries_max = 10});
  cache.put(key(1), entry(success("alice", "ldap")), start);
  cache.put(key(2), entry(answer(Result::bad_credentials)), start);
  ASSERT_TRUE(cache.find(key(1), start));
  EXPECT_EQ(cache.find(key(1), start)->answer.account.login, "alice");
  ASSERT_TRUE(cache.find(key(2), start + std::chrono::milliseconds(9999)));
  EXPECT_FALSE(cache.find(key(2), start + std::chrono::seconds(10)));
  EXPECT_TRUE(cache.find(key(1), start + std::chrono::seconds(299)));
  EXPECT_FALSE(cache.find(key(1), start + std::chrono::seconds(300)));
  EXPECT_EQ(cache.size(), 0U) << "expired entries do not stay";
}

TEST(OutcomeCache, NeverKeepsAnOutage) {
  OutcomeCache cache({});
  for (const Result result : {Result::backend_error, Result::blocked, Result::unsupported}) {
    cache.put(key(1), entry(answer(result)), start);
    EXPECT_FALSE(cache.find(key(1), start)) << name_of(result);
  }
  cache.put(key(1), entry(success("alice", "ldap")), start);
  cache.put(key(1), entry(answer(Result::backend_error)), start);
  EXPECT_TRUE(cache.find(key(1), start)) << "an outage does not take a success away";
}

TEST(OutcomeCache, ANewAnswerReplacesTheOld) {
  OutcomeCache cache({});
  cache.put(key(1), entry(answer(Result::bad_credentials)), start);
  cache.put(key(1), entry(success("alice", "ldap")), start);
  EXPECT_EQ(cache.find(key(1), start)->answer.result, Result::success);
  cache.put(key(1), entry(answer(Result::disabled)), start);
  EXPECT_EQ(cache.find(key(1), start)->answer.result, Result::disabled);
  EXPECT_EQ(cache.size(), 1U);
}

TEST(OutcomeCache, BoundedAndTheLeastRecentlyUsedGoesFirst) {
  OutcomeCache cache({.ttl_seconds = 300, .negative_ttl_seconds = 300, .entries_max = 3});
  for (std::uint8_t i = 1; i <= 3; ++i) cache.put(key(i), entry(success("u", "ldap")), start);
  EXPECT_TRUE(cache.find(key(1), start));  // 2 is the oldest in use now
  cache.put(key(4), entry(success("u", "ldap")), start);
  EXPECT_FALSE(cache.find(key(2), start));
  EXPECT_TRUE(cache.find(key(1), start));
  // A flood of refusals leaves successes alone and is bounded too.
  for (std::uint8_t i = 100; i < 200; ++i) cache.put(key(i), entry(answer(Result::bad_credentials)), start);
  EXPECT_EQ(cache.size(), 6U);
  EXPECT_TRUE(cache.find(key(1), start));
  EXPECT_TRUE(cache.find(key(3), start));
}

TEST(OutcomeCache, ZeroTtlIsNoCache) {
  OutcomeCache cache({.ttl_seconds = 0, .negative_ttl_seconds = 10, .entries_max = 10});
  cache.put(key(1), entry(success("alice", "ldap")), start);
  cache.put(key(2), entry(answer(Result::bad_credentials)), start);
  EXPECT_EQ(cache.size(), 0U);
}

}  // namespace
}  // namespace portcullis::auth
