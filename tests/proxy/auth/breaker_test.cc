#include "proxy/auth/breaker.h"

#include <gtest/gtest.h>

namespace portcullis::auth {
namespace {

using Change = Breaker::Change;
const Clock::time_point start = Clock::time_point() + std::chrono::hours(1);
const std::chrono::seconds ten(10);

TEST(Breaker, OpensAfterFailuresInARowOnly) {
  Breaker breaker(3, ten);
  EXPECT_EQ(breaker.record(false, start), Change::none);
  EXPECT_EQ(breaker.record(false, start), Change::none);
  EXPECT_EQ(breaker.record(true, start), Change::none);  // the row is broken
  EXPECT_EQ(breaker.record(false, start), Change::none);
  EXPECT_EQ(breaker.record(false, start), Change::none);
  EXPECT_TRUE(breaker.allow(start));
  EXPECT_EQ(breaker.record(false, start), Change::opened);
  EXPECT_FALSE(breaker.allow(start));
  EXPECT_FALSE(breaker.allow(start + ten - std::chrono::milliseconds(1)));
}

TEST(Breaker, LetsOneTrialThrough) {
  Breaker breaker(1, ten);
  EXPECT_EQ(breaker.record(false, start), Change::opened);
  EXPECT_TRUE(breaker.allow(start + ten));
  EXPECT_FALSE(breaker.allow(start + ten)) << "one trial, not two";
  EXPECT_EQ(breaker.record(false, start + ten), Change::none) << "it was open and stays open";
  EXPECT_FALSE(breaker.allow(start + ten + ten - std::chrono::milliseconds(1)));
  EXPECT_TRUE(breaker.allow(start + ten + ten));
  EXPECT_EQ(breaker.record(true, start + ten + ten), Change::closed);
  EXPECT_TRUE(breaker.allow(start + ten + ten));
  EXPECT_TRUE(breaker.allow(start + ten + ten));
}

TEST(Breaker, LateFailuresDoNotProlongTheOpenTime) {
  Breaker breaker(1, ten);
  breaker.record(false, start);
  EXPECT_EQ(breaker.record(false, start + std::chrono::seconds(9)), Change::none);
  EXPECT_TRUE(breaker.allow(start + ten));
}

TEST(Breaker, ALateSuccessClosesIt) {
  Breaker breaker(1, ten);
  breaker.record(false, start);
  EXPECT_EQ(breaker.record(true, start + std::chrono::seconds(1)), Change::closed);
  EXPECT_TRUE(breaker.allow(start + std::chrono::seconds(1)));
}

TEST(Breaker, ZeroMeansNever) {
  Breaker breaker(0, ten);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(breaker.record(false, start), Change::none);
  EXPECT_TRUE(breaker.allow(start));
}

}  // namespace
}  // namespace portcullis::auth
