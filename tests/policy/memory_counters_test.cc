#include "policy/memory_counters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace portcullis::policy {
namespace {

using std::chrono::seconds;
constexpr WallTime start{seconds{1'800'000'000}};

CounterStore::Charge charge_of(std::string_view key, std::uint64_t amount = 1, std::uint64_t capacity = 10) {
  return {"limit", key, amount, capacity, 60};
}

TEST(MemoryCounters, ChargesUpToTheCapacityAndSaysWhenToRetry) {
  MemoryCounters counters(100);
  EXPECT_EQ(counters.charge(charge_of("a", 9), start, false)->used, 9U);
  const auto over = counters.charge(charge_of("a", 2), start + seconds{1}, false);
  EXPECT_FALSE(over->within);
  EXPECT_EQ(over->used, 9U) << "nothing was charged";
  EXPECT_GE(over->retry_after_seconds, 59U);
  EXPECT_LE(over->retry_after_seconds, 65U);
  EXPECT_TRUE(counters.charge(charge_of("a", 1), start, false)->within);
  EXPECT_TRUE(counters.charge(charge_of("b", 10), start, false)->within) << "keys are separate";
  EXPECT_TRUE(
      counters.charge(charge_of("a", 2), start + seconds{1 + over->retry_after_seconds}, false)->within);
  const auto always = counters.charge(charge_of("b", 5), start, true);
  EXPECT_FALSE(always->within);
  EXPECT_EQ(always->used, 15U);
  EXPECT_FALSE(counters.charge(charge_of("huge", ~0ULL), start, false)->within);
}

TEST(MemoryCounters, LimitsAndPeriodsAreSeparate) {
  MemoryCounters counters(100);
  auto charge = charge_of("a", 10);
  ASSERT_TRUE(counters.charge(charge, start, false)->within);
  charge.limit = "other";
  EXPECT_TRUE(counters.charge(charge, start, false)->within);
  charge.limit = "limit";
  charge.period_seconds = 3600;  // the admin changed it: counted anew
  EXPECT_TRUE(counters.charge(charge, start, false)->within);
  EXPECT_FALSE(counters.charge(charge_of("a", 1), start, false)->within)
      << "sessions of the old configuration";
}

TEST(MemoryCounters, PeekAndRefund) {
  MemoryCounters counters(100);
  EXPECT_TRUE(counters.peek(charge_of("a"), start)->within);
  EXPECT_FALSE(counters.peek(charge_of("a", 11), start)->within);
  EXPECT_EQ(counters.status("limit").keys, 0U) << "looking creates nothing";
  ASSERT_TRUE(counters.charge(charge_of("a", 10), start, false));
  EXPECT_FALSE(counters.peek(charge_of("a"), start)->within);
  counters.refund(charge_of("a", 4), start, start);
  EXPECT_EQ(counters.peek(charge_of("a"), start)->used, 6U);
  counters.refund(charge_of("unknown", 4), start, start);
  EXPECT_EQ(counters.status("limit").keys, 1U);
}

TEST(MemoryCounters, ForgetsTheLeastRecentlyUsedKey) {
  MemoryCounters counters(3);
  for (const std::string_view key : {"a", "b", "c", "a", "d"})
    ASSERT_TRUE(counters.charge(charge_of(key), start, false));
  EXPECT_EQ(counters.status("limit").keys, 3U);
  EXPECT_EQ(counters.status("limit").evictions, 1U);
  EXPECT_EQ(counters.peek(charge_of("a"), start)->used, 2U);
  EXPECT_EQ(counters.peek(charge_of("b"), start)->used, 0U) << "was the oldest";
  // Expired keys go first and are no evictions.
  ASSERT_TRUE(counters.charge(charge_of("e"), start + seconds{100}, false));
  EXPECT_EQ(counters.status("limit").evictions, 1U);
  EXPECT_EQ(counters.status("limit").keys, 2U);
  counters.forget_expired(start + seconds{300});
  EXPECT_EQ(counters.status("limit").keys, 0U);
}

TEST(MemoryCounters, StaysWithinItsBoundUnderAFloodOfKeys) {
  MemoryCounters counters(5000);
  for (int i = 0; i < 30000; ++i)
    ASSERT_TRUE(counters.charge(charge_of("key" + std::to_string(i)), start, false));
  EXPECT_LE(counters.status("limit").keys, 5004U);
  EXPECT_GE(counters.status("limit").keys, 4500U);
  EXPECT_EQ(counters.status("limit").keys + counters.status("limit").evictions, 30000U);
}

TEST(MemoryCounters, TheBoundCanChange) {
  MemoryCounters counters(10);
  const auto charge = [&](int from, int to) {
    for (int i = from; i < to; ++i)
      ASSERT_TRUE(counters.charge(charge_of("key" + std::to_string(i)), start, false));
  };
  charge(0, 100);
  EXPECT_EQ(counters.status("limit").keys, 10U);
  counters.set_keys_max(50);
  charge(100, 200);
  EXPECT_EQ(counters.status("limit").keys, 50U);
  counters.set_keys_max(20);
  charge(200, 300);
  EXPECT_EQ(counters.status("limit").keys, 20U);
}

TEST(MemoryCounters, TakesEachChangeOnce) {
  MemoryCounters counters(2);
  ASSERT_TRUE(counters.charge(charge_of("a"), start, false));
  ASSERT_TRUE(counters.charge(charge_of("a"), start, false));
  ASSERT_TRUE(counters.charge(charge_of("b"), start, false));
  auto records = counters.take_changed();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_TRUE(counters.take_changed().empty());
  EXPECT_FALSE(counters.charge(charge_of("a", 100), start, false)->within);
  EXPECT_TRUE(counters.take_changed().empty()) << "a refusal changes nothing";
  counters.mark_changed(records.front());
  EXPECT_EQ(counters.take_changed().size(), 1U);
  counters.refund(charge_of("a"), start, start);
  EXPECT_EQ(counters.take_changed().size(), 1U);
  // Evicted with a change pending: the index serves another key by then.
  ASSERT_TRUE(counters.charge(charge_of("a"), start, false));
  ASSERT_TRUE(counters.charge(charge_of("b"), start, false));
  ASSERT_TRUE(counters.charge(charge_of("c"), start, false));
  records = counters.take_changed();
  std::ranges::sort(records, {}, &MemoryCounters::Record::key);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].key, "b");
  EXPECT_EQ(records[1].key, "c");
}

TEST(MemoryCounters, RestoresWhatItGave) {
  MemoryCounters counters(100), restored(100);
  ASSERT_TRUE(counters.charge(charge_of("old", 7), start - seconds{3600}, false));
  ASSERT_TRUE(counters.charge(charge_of("a", 7), start, false));
  for (const auto& record : counters.take_changed()) restored.restore(record, start);
  EXPECT_EQ(restored.peek(charge_of("a"), start)->used, 7U);
  EXPECT_EQ(restored.status("limit").keys, 1U);
  EXPECT_TRUE(restored.take_changed().empty());
}

TEST(MemoryCounters, ThreadsNeverChargeMoreThanFits) {
  MemoryCounters counters(10000);
  std::atomic<std::uint64_t> granted = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 3000; ++i) {
        if (counters.charge(charge_of("shared", 1, 5000), start, false)->within) granted.fetch_add(1);
        if (i % 7 == 0) counters.refund(charge_of("other" + std::to_string(t)), start, start);
        if (!counters.charge(charge_of("other" + std::to_string(i % 100)), start, false)) std::abort();
      }
    });
  }
  std::thread writer([&] {
    while (!stop) {
      for (const auto& record : counters.take_changed()) counters.mark_changed(record);
    }
  });
  for (auto& thread : threads) thread.join();
  stop = true;
  writer.join();
  EXPECT_EQ(granted, 5000U);
}

}  // namespace
}  // namespace portcullis::policy
