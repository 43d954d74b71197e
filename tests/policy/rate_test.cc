#include "policy/rate.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace portcullis::policy {
namespace {

using std::chrono::seconds;
constexpr WallTime start{seconds{1'800'000'000}};
constexpr std::uint32_t day = 86400;

TEST(Rate, ChargesAreForgottenAfterAPeriodAndAtMostASlotMore) {
  for (const std::uint32_t period : {1U, 7U, 60U, 3600U, day}) {
    for (std::int64_t offset = 0; offset < 40; ++offset) {
      const WallTime at = start + seconds{offset * 13};
      RateWindow window;
      window.add(5, period, at);
      EXPECT_EQ(window.used(period, at), 5U);
      EXPECT_EQ(window.used(period, at + seconds{period} - seconds{1}), 5U) << period << " " << offset;
      const auto slot = seconds{RateWindow::slot_seconds(period)};
      EXPECT_EQ(window.used(period, at + slot * 13), 0U) << period << " " << offset;
      EXPECT_TRUE(window.expired(period, at + slot * 13));
    }
  }
}

// The law of the header: whatever the pattern, no period ever holds more than the capacity.
TEST(Rate, NeverMoreThanTheCapacityInAnyPeriod) {
  std::mt19937 random(7);
  for (const std::uint32_t period : {60U, 100U, 3600U}) {
    constexpr std::uint64_t capacity = 50;
    RateWindow window;
    std::deque<std::pair<WallTime, std::uint64_t>> charged;
    std::uint64_t in_period = 0, most = 0;
    WallTime now = start;
    for (int i = 0; i < 20000; ++i) {
      // Bursts and pauses.
      now += seconds{random() % 8 == 0 ? random() % period : random() % 3};
      const std::uint64_t amount = 1 + random() % 5;
      while (!charged.empty() && charged.front().first + seconds{period} <= now) {
        in_period -= charged.front().second;
        charged.pop_front();
      }
      if (window.used(period, now) + amount > capacity) continue;
      window.add(amount, period, now);
      charged.emplace_back(now, amount);
      in_period += amount;
      most = std::max(most, in_period);
      ASSERT_LE(in_period, capacity) << period << " " << i;
    }
    EXPECT_EQ(most, capacity) << "and the capacity can be used up";
  }
}

TEST(Rate, RetryAfterIsTheFirstMomentThatFits) {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    const std::uint32_t period = random() % 2 == 0 ? 60 : 3600;
    RateWindow window;
    WallTime now = start + seconds{random() % 10000};
    for (int i = 0; i < 20; ++i) {
      window.add(random() % 10, period, now);
      now += seconds{random() % (period / 10)};
    }
    const std::uint64_t capacity = 60, amount = 1 + random() % 60;
    const auto retry = window.retry_after_seconds(amount, capacity, period, now);
    const auto fits = [&](std::uint32_t wait) {
      return window.used(period, now + seconds{wait}) + amount <= capacity;
    };
    EXPECT_TRUE(fits(retry));
    if (retry > 0) {
      EXPECT_FALSE(fits(retry - 1));
    }
  }
  EXPECT_EQ(RateWindow{}.retry_after_seconds(6, 5, 60, start), 0U);
}

TEST(Rate, TakingBackNeverGoesBelowZero) {
  RateWindow window;
  window.add(5, 60, start);
  window.add(3, 60, start + seconds{30});
  window.take_back(4, 60, start, start + seconds{31});
  EXPECT_EQ(window.used(60, start + seconds{31}), 4U);
  window.take_back(100, 60, start, start + seconds{31});
  EXPECT_EQ(window.used(60, start + seconds{31}), 0U);
}

// What was charged long ago and comes back now is not paid for by what was used meanwhile.
TEST(Rate, TakingBackLeavesWhatWasUsedMeanwhile) {
  RateWindow window;
  window.add(5, 60, start);
  window.add(5, 60, start + seconds{55});
  window.take_back(5, 60, start, start + seconds{56});
  EXPECT_EQ(window.used(60, start + seconds{56}), 5U);
  EXPECT_EQ(window.used(60, start + seconds{114}), 5U) << "used 59 seconds ago";
  EXPECT_EQ(window.used(60, start + seconds{120}), 0U);
  // Forgotten already: nothing is left to come back.
  window.add(5, 60, start + seconds{200});
  window.take_back(5, 60, start, start + seconds{200});
  EXPECT_EQ(window.used(60, start + seconds{200}), 5U);
  // Charged while the clock was behind.
  window.add(3, 60, start + seconds{180});
  window.take_back(3, 60, start + seconds{180}, start + seconds{201});
  EXPECT_EQ(window.used(60, start + seconds{201}), 5U);
}

TEST(Rate, AmountsSaturate) {
  RateWindow window;
  window.add(~0ULL, 60, start);
  window.add(~0ULL, 60, start);
  window.add(5, 60, start + seconds{30});
  EXPECT_EQ(window.used(60, start + seconds{30}), ~0ULL);
}

TEST(Rate, ClocksThatGoBack) {
  RateWindow window;
  window.add(5, 60, start);
  // A little: what was counted still counts.
  EXPECT_EQ(window.used(60, start - seconds{20}), 5U);
  window.add(1, 60, start - seconds{20});
  EXPECT_EQ(window.used(60, start), 6U);
  // By a year: the clock was wrong before, and nobody waits a year.
  EXPECT_EQ(window.used(60, start - std::chrono::years{1}), 0U);
  // Before the epoch.
  window.add(2, 60, WallTime{seconds{-100}});
  EXPECT_EQ(window.used(60, WallTime{seconds{-100}}), 2U);
}

TEST(Rate, SurvivesSavingAndRestoring) {
  RateWindow window, restored;
  window.add(5, day, start);
  window.add(6, day, start + std::chrono::hours{5});
  restored.restore(window.save());
  EXPECT_EQ(restored.used(day, start + std::chrono::hours{23}), 11U);
  EXPECT_EQ(restored.used(day, start + std::chrono::hours{27}), 6U);
}

}  // namespace
}  // namespace portcullis::policy
