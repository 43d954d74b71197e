#include "proxy/auth/breaker.h"

#include <gtest/gtest.h>

namespace portcullis::auth {
namespace {

using Change = Breaker::Change;
using Pass = Breaker::Pass;
const Clock::time_point start = Clock::time_point() + std::chrono::hours(1);
const std::chrono::seconds ten(10);

TEST(Breaker, OpensAfterFailuresInARowOnly) {
  Breaker breaker(3, ten);
  EXPECT_EQ(breaker.record(false, start), Change::none);
  EXPECT_EQ(breaker.record(false, start), Change::none);
  EXPECT_EQ(breaker.record(true, start), Change::none);  // the row is broken
  EXPECT_EQ(breaker.record(false, start), Change::none);
  EXPECT_EQ(breaker.record(false, start), Change::none);
  EXPECT_NE(breaker.allow(start), Pass::no);
  EXPECT_EQ(breaker.record(false, start), Change::opened);
  EXPECT_EQ(breaker.allow(start), Pass::no);
  EXPECT_EQ(breaker.allow(start + ten - std::chrono::milliseconds(1)), Pass::no);
}

TEST(Breaker, LetsOneTrialThrough) {
  Breaker breaker(1, ten);
  EXPECT_EQ(breaker.record(false, start), Change::opened);
  EXPECT_NE(breaker.allow(start + ten), Pass::no);
  EXPECT_EQ(breaker.allow(start + ten), Pass::no) << "one trial, not two";
  EXPECT_EQ(breaker.record(false, start + ten), Change::none) << "it was open and stays open";
  EXPECT_EQ(breaker.allow(start + ten + ten - std::chrono::milliseconds(1)), Pass::no);
  EXPECT_NE(breaker.allow(start + ten + ten), Pass::no);
  EXPECT_EQ(breaker.record(true, start + ten + ten), Change::closed);
  EXPECT_NE(breaker.allow(start + ten + ten), Pass::no);
  EXPECT_NE(breaker.allow(start + ten + ten), Pass::no);
}

TEST(Breaker, ATrialThatIsNotMadeLeavesItsPlaceToTheNextCall) {
  Breaker breaker(1, ten);
  breaker.record(false, start);
  EXPECT_EQ(breaker.allow(start + ten), Pass::trial);
  breaker.forgo();
  EXPECT_FALSE(breaker.closed());
  EXPECT_EQ(breaker.allow(start + ten), Pass::trial);
  EXPECT_EQ(breaker.record(true, start + ten), Change::closed);
  breaker.forgo();
  EXPECT_TRUE(breaker.closed()) << "a closed breaker has no trial to forgo";
}

TEST(Breaker, LateFailuresDoNotProlongTheOpenTime) {
  Breaker breaker(1, ten);
  breaker.record(false, start);
  EXPECT_EQ(breaker.record(false, start + std::chrono::seconds(9)), Change::none);
  EXPECT_NE(breaker.allow(start + ten), Pass::no);
}

TEST(Breaker, ALateSuccessClosesIt) {
  Breaker breaker(1, ten);
  breaker.record(false, start);
  EXPECT_EQ(breaker.record(true, start + std::chrono::seconds(1)), Change::closed);
  EXPECT_NE(breaker.allow(start + std::chrono::seconds(1)), Pass::no);
}

TEST(Breaker, ZeroMeansNever) {
  Breaker breaker(0, ten);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(breaker.record(false, start), Change::none);
  EXPECT_NE(breaker.allow(start), Pass::no);
}

}  // namespace
}  // namespace portcullis::auth
