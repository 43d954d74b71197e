// Which clients are slow.
#include <gtest/gtest.h>

#include "proxy/session/upstream_hold.h"

namespace portcullis::session {
namespace {

constexpr std::int64_t second_ms = 1'000;
constexpr std::uint32_t rate = 1'000;

TEST(PaceTest, FastEnoughAsLongAsOctetsCome) {
  Pace pace;
  pace.begin(0, second_ms);
  EXPECT_EQ(pace.until_ms(), second_ms);
  for (std::int64_t now = 500; now < 60'000; now += 500) {
    pace.took(500, rate, now, second_ms);
    EXPECT_GT(pace.until_ms(), now);
  }
}

TEST(PaceTest, DrippedOctetsAreSoonUsedUp) {
  Pace pace;
  pace.begin(0, second_ms);
  for (std::int64_t now = 100; now <= 1'100; now += 100) pace.took(1, rate, now, second_ms);
  EXPECT_LE(pace.until_ms(), 1'101);
}

TEST(PaceTest, NothingIsSavedUpForLater) {
  Pace pace;
  pace.begin(0, second_ms);
  pace.took(1'000'000'000'000, rate, 100, second_ms);
  EXPECT_EQ(pace.until_ms(), 100 + second_ms);
  pace.took(0, rate, 50'000, second_ms);
  EXPECT_EQ(pace.until_ms(), 50'000);
}

TEST(PaceTest, TheServersTimeIsNotTheClients) {
  Pace pace;
  pace.begin(0, second_ms);
  pace.lend(20'000);
  pace.took(1, rate, 20'500, second_ms);
  EXPECT_EQ(pace.until_ms(), 21'001);
}

}  // namespace
}  // namespace portcullis::session
