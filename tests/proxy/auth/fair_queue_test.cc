#include "proxy/auth/fair_queue.h"

#include <gtest/gtest.h>

#include <deque>

namespace portcullis::auth {
namespace {

Claim claim(std::uint8_t group, std::uint8_t host, Standing standing, std::string login = {}) {
  policy::IpAddress client;
  client.octets = {192, 0, group, host};
  if (login.empty()) login = std::to_string(group) + "." + std::to_string(host);
  return {policy::network_of(client, 32, 64), policy::network_of(client, 24, 48), std::move(login), standing};
}

class FairQueueTest : public ::testing::Test {
 protected:
  FairQueueTest() { queue_.set_workers(8); }
  void push(const Claim& claim, int count = 1) {
    for (int i = 0; i < count; ++i) EXPECT_FALSE(queue_.push(claim, ++number_, 1000));
  }
  // The items that may go now.
  std::vector<int> take_all() {
    std::vector<int> items;
    while (auto taken = queue_.take()) {
      items.push_back(taken->item);
      running_.push_back(taken->claim);
    }
    return items;
  }
  void finish(std::size_t count) {
    for (std::size_t i = 0; i < count && !running_.empty(); ++i) {
      queue_.done(running_.front());
      running_.pop_front();
    }
  }

  FairQueue<int> queue_;
  std::deque<Claim> running_;
  int number_ = 0;
};

struct Share {
  const char* name;
  Standing standing;
  std::size_t workers;
  std::size_t of_one_network;
  std::size_t of_one_group;
  std::size_t of_many_groups;
};

class Shares : public ::testing::TestWithParam<Share> {};

TEST_P(Shares, AreBounded) {
  const auto taken = [](std::uint8_t groups, std::uint8_t hosts, int each) {
    FairQueue<int> queue;
    queue.set_workers(GetParam().workers);
    for (std::uint8_t g = 0; g < groups; ++g) {
      for (std::uint8_t h = 0; h < hosts; ++h) {
        for (int i = 0; i < each; ++i) {
          const std::string login = std::to_string(g) + "." + std::to_string(h) + "." + std::to_string(i);
          queue.push(claim(g, h, GetParam().standing, login), 0, 1000);
        }
      }
    }
    std::size_t count = 0;
    while (count < GetParam().workers && queue.take()) ++count;
    return count;
  };
  EXPECT_EQ(taken(1, 1, 20), GetParam().of_one_network);
  EXPECT_EQ(taken(1, 20, 1), GetParam().of_one_group);
  EXPECT_EQ(taken(20, 1, 1), GetParam().of_many_groups);
}

INSTANTIATE_TEST_SUITE_P(FairQueue, Shares,
                         ::testing::Values(Share{"known", Standing::known, 8, 6, 8, 8},
                                           Share{"fresh", Standing::fresh, 8, 4, 4, 6},
                                           Share{"suspect", Standing::suspect, 8, 2, 4, 4},
                                           Share{"known_of_2", Standing::known, 2, 2, 2, 2},
                                           Share{"fresh_of_2", Standing::fresh, 2, 1, 1, 2},
                                           Share{"suspect_of_2", Standing::suspect, 2, 1, 1, 1},
                                           Share{"known_of_1", Standing::known, 1, 1, 1, 1},
                                           Share{"suspect_of_1", Standing::suspect, 1, 1, 1, 1}),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST_F(FairQueueTest, OneLoginFromManyNetworksIsBounded) {
  for (std::uint8_t g = 0; g < 50; ++g) push(claim(g, 1, Standing::fresh, "alice"));
  EXPECT_EQ(take_all().size(), 2U);
  push(claim(200, 1, Standing::known, "alice"));
  EXPECT_EQ(take_all(), std::vector<int>{51}) << "its owner is not held up by them";
}

TEST_F(FairQueueTest, KnownClientsFirstThenWhoeverWasServedLeastRecently) {
  push(claim(1, 1, Standing::suspect, "a"), 10);
  push(claim(2, 1, Standing::fresh, "b"));
  push(claim(2, 2, Standing::fresh, "c"));
  push(claim(3, 1, Standing::fresh, "d"));
  push(claim(4, 1, Standing::known, "e"));
  EXPECT_EQ(take_all(), (std::vector<int>{14, 11, 13, 12, 1, 2}));
}

TEST_F(FairQueueTest, AGroupThatIsServedOftenComesAfterOneThatIsNot) {
  for (std::uint8_t host = 1; host <= 99; ++host) push(claim(2, host, Standing::fresh));
  EXPECT_EQ(take_all().size(), 4U);
  for (int round = 0; round < 10; ++round) {
    finish(1);
    EXPECT_EQ(take_all().size(), 1U);
  }
  push(claim(3, 1, Standing::fresh));
  EXPECT_EQ(take_all(), std::vector<int>{100}) << "there is a worker for it at once";
}

TEST_F(FairQueueTest, NobodyWaitsForEver) {
  push(claim(1, 1, Standing::suspect, "slow"));
  push(claim(2, 1, Standing::fresh, "slower"));
  for (int i = 0; i < 100; ++i) {
    for (std::uint8_t host = 1; host <= 10; ++host) push(claim(9, host, Standing::known));
    const auto taken = queue_.take();
    ASSERT_TRUE(taken);
    queue_.done(taken->claim);
    if (taken->item == 1) return;
  }
  FAIL() << "known clients kept a suspect waiting for 100 turns";
}

TEST_F(FairQueueTest, WhenItIsFullTheNewestOfWhoHasMostGoes) {
  for (int i = 1; i <= 3; ++i) EXPECT_FALSE(queue_.push(claim(1, 1, Standing::fresh), i, 4));
  EXPECT_FALSE(queue_.push(claim(2, 1, Standing::suspect), 4, 4));
  EXPECT_EQ(queue_.push(claim(3, 1, Standing::fresh), 5, 4), 4) << "suspects first";
  EXPECT_EQ(queue_.push(claim(4, 1, Standing::fresh), 6, 4), 3);
  EXPECT_EQ(queue_.push(claim(1, 1, Standing::fresh), 7, 4), 7) << "its own newest";
  EXPECT_EQ(queue_.push(claim(1, 1, Standing::known, "x"), 8, 4), 2);
  EXPECT_EQ(queue_.size(), 4U);
}

TEST_F(FairQueueTest, TakesOutWhatIsOver) {
  push(claim(1, 1, Standing::fresh), 10);
  EXPECT_EQ(queue_.remove_if([](int item) { return item % 2 == 0; }).size(), 5U);
  EXPECT_EQ(queue_.size(), 5U);
  EXPECT_EQ(take_all(), (std::vector<int>{1, 3})) << "two for one login";
}

TEST_F(FairQueueTest, ForgetsWhoIsGone) {
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 256; ++i) {
      push(claim(static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(round), Standing::fresh));
      take_all();
      finish(100);
    }
  }
  EXPECT_EQ(queue_.size(), 0U);
}

}  // namespace
}  // namespace portcullis::auth
