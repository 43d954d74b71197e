// What one outage repeats is written a few times and then summed up.
#include "metrics/event_repeats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace portcullis::metrics {
namespace {

using testing::HasSubstr;

EventRecord outage() {
  EventRecord event;
  event.level = EventRecord::Level::warning;
  event.event = "upstream_failed";
  return event;
}

TEST(EventRepeats, SumUpEachWindow) {
  EventRepeats repeats;
  EventRecord event = outage();
  event.cause = "a";
  EventRepeats::Time now{};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(repeats.admit(event, now), i < 3);
  EXPECT_TRUE(repeats.any());
  EXPECT_TRUE(repeats.take_due(now).empty()) << "the window is not over";
  now += EventRepeats::window;
  auto sums = repeats.take_due(now);
  ASSERT_EQ(sums.size(), 1u);
  EXPECT_THAT(sums[0].message, HasSubstr("repeated 97 times"));
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(repeats.admit(event, now)) << "the outage goes on";
  sums = repeats.take_due(now + EventRepeats::window);
  ASSERT_EQ(sums.size(), 1u);
  EXPECT_THAT(sums[0].message, HasSubstr("repeated 5 times"));
  EXPECT_TRUE(repeats.take_due(now + 2 * EventRepeats::window).empty());
  EXPECT_FALSE(repeats.any());
  EXPECT_TRUE(repeats.admit(event, now)) << "the next outage is told anew";
}

TEST(EventRepeats, AreBounded) {
  EventRepeats repeats;
  EventRecord event = outage();
  for (std::size_t i = 0; i < 2 * EventRepeats::causes_max; ++i) {
    event.cause = std::to_string(i);
    EXPECT_TRUE(repeats.admit(event, {}));
  }
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(repeats.admit(event, {})) << "no room: written, not hidden";
}

}  // namespace
}  // namespace portcullis::metrics
