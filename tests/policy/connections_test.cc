#include "policy/connections.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace portcullis::policy {
namespace {

using std::chrono::seconds;
using enum ConnectionAnswer;
constexpr WallTime start{seconds{1'800'000'000}};
IpAddress ip(std::string_view text) { return *parse_ip(text); }

TEST(Connections, Concurrency) {
  ConnectionCounter counter;
  const ConnectionRule rule{.concurrent_per_network = 2, .new_per_minute_per_network = 0};
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), accept);
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), accept);
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), too_many);
  EXPECT_EQ(counter.open(rule, ip("192.0.2.2"), start), accept);
  counter.close(rule, ip("192.0.2.1"));
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), accept);
  // A /64 is one network.
  EXPECT_EQ(counter.open(rule, ip("2001:db8::1"), start), accept);
  EXPECT_EQ(counter.open(rule, ip("2001:db8::2"), start), accept);
  EXPECT_EQ(counter.open(rule, ip("2001:db8::3"), start), too_many);
  EXPECT_EQ(counter.open(rule, ip("2001:db8:0:1::3"), start), accept);
}

TEST(Connections, RateCountsAcceptedOnesOfAMinute) {
  ConnectionCounter counter;
  const ConnectionRule rule{.concurrent_per_network = 0, .new_per_minute_per_network = 3};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), accept);
    counter.close(rule, ip("192.0.2.1"));
  }
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start + seconds{59}), too_fast);
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start + seconds{65}), accept);
}

TEST(Connections, ShadowAndOffCountButGoOn) {
  ConnectionCounter counter;
  ConnectionRule rule{.mode = Mode::shadow, .concurrent_per_network = 1, .new_per_minute_per_network = 0};
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), accept);
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), too_many);
  rule.mode = Mode::off;
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), accept);
  rule.mode = Mode::enforce;
  counter.close(rule, ip("192.0.2.1"));
  counter.close(rule, ip("192.0.2.1"));
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), too_many) << "one is still open";
  counter.close(rule, ip("192.0.2.1"));
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), accept);
  counter.close(rule, ip("192.0.2.1"));
  counter.close(rule, ip("192.0.2.1"));  // one too many does no harm
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), accept);
  EXPECT_EQ(counter.open(rule, ip("192.0.2.1"), start), too_many);
}

TEST(Connections, FloodsForgetIdleNetworksOnly) {
  ConnectionCounter counter(160);
  const ConnectionRule rule{.concurrent_per_network = 1, .new_per_minute_per_network = 5};
  std::vector<IpAddress> held;
  for (int i = 0; i < 100; ++i) {
    held.push_back(ip("198.51.100." + std::to_string(i)));
    ASSERT_EQ(counter.open(rule, held.back(), start), accept);
  }
  for (int i = 0; i < 20000; ++i) {
    const auto address = ip("10." + std::to_string(i / 65536) + '.' + std::to_string(i / 256 % 256) + '.' +
                            std::to_string(i % 256));
    ASSERT_EQ(counter.open(rule, address, start), accept);
    counter.close(rule, address);
  }
  EXPECT_LE(counter.networks(), 260U);
  for (const auto& address : held) EXPECT_EQ(counter.open(rule, address, start), too_many);
}

TEST(Connections, ThreadsKeepTheLimit) {
  ConnectionCounter counter;
  const ConnectionRule rule{.concurrent_per_network = 50, .new_per_minute_per_network = 0};
  std::atomic<int> open = 0, refused = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        (counter.open(rule, ip("192.0.2.1"), start) == accept ? open : refused).fetch_add(1);
        if (i % 100 == 99 && open.fetch_sub(1) > 0) counter.close(rule, ip("192.0.2.1"));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(open, 50);
  EXPECT_GE(open, 46);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace portcullis::policy
