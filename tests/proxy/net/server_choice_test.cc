// Which server is next, and which is passed over, under scripted times.
#include "proxy/net/server_choice.h"

#include <gtest/gtest.h>

#include "proxy/net/server_standing.h"

namespace portcullis::net {
namespace {

using Silence = ServerChoice::Silence;

class ServerChoiceTest : public ::testing::Test {
 protected:
  std::vector<ServerView> views_ = std::vector<ServerView>(2, {true, false, false});
  std::int64_t now_ = 1'000'000;
  ServerChoice choice_{2, [this](std::size_t server) { return views_[server]; }};
};

TEST_F(ServerChoiceTest, TheFirstThatIsUsable) {
  EXPECT_EQ(choice_.next(0, now_), 0U);
  views_[0].up = false;
  EXPECT_EQ(choice_.next(0, now_), 1U);
  views_[1].up = false;
  EXPECT_EQ(choice_.next(0, now_), 0U) << "nothing better is known";
  EXPECT_EQ(choice_.next(2, now_), 2U) << "none is left";
}

TEST_F(ServerChoiceTest, OneThatFailedRests) {
  choice_.failed(0, now_);
  EXPECT_EQ(choice_.next(0, now_ + 1'999), 1U);
  EXPECT_EQ(choice_.next(0, now_ + 2'000), 0U);
  EXPECT_FALSE(choice_.steady(0, now_ + 9'999));
  EXPECT_TRUE(choice_.steady(0, now_ + 10'000));
}

TEST_F(ServerChoiceTest, SlowIsBetterThanNone) {
  views_[0].passed_over = true;
  EXPECT_EQ(choice_.next(0, now_), 1U);
  EXPECT_TRUE(choice_.avoided(0, now_));
  views_[1].passed_over = true;
  EXPECT_EQ(choice_.next(0, now_), 0U) << "both are slow: by preference";
  EXPECT_FALSE(choice_.avoided(0, now_));
  views_[1] = {};
  EXPECT_EQ(choice_.next(0, now_), 0U);
  choice_.failed(0, now_);
  EXPECT_EQ(choice_.next(0, now_), 1U) << "the first has just failed";
}

TEST_F(ServerChoiceTest, SilenceMattersWhereAnotherServerIs) {
  EXPECT_EQ(choice_.silent(0, 1'999, now_), Silence::wait);
  EXPECT_EQ(choice_.silent(0, 2'000, now_), Silence::suspect);
  views_[1].up = false;
  EXPECT_EQ(choice_.silent(0, 60'000, now_), Silence::wait);
  views_[1] = {true, true, false};
  EXPECT_EQ(choice_.silent(0, 60'000, now_), Silence::wait) << "the other is slow too";
  ServerChoice alone(1, [this](std::size_t server) { return views_[server]; });
  EXPECT_EQ(alone.silent(0, 60'000, now_), Silence::wait);
  EXPECT_FALSE(alone.avoided(0, now_));
}

// One recipient that takes long is not the server's silence, as long as others are served.
TEST_F(ServerChoiceTest, ALoneSilenceIsNoSuspicion) {
  choice_.satisfied(0, now_ - 500);
  EXPECT_EQ(choice_.silent(0, 5'000, now_), Silence::wait);
  EXPECT_EQ(choice_.silent(0, 10'000, now_), Silence::move_on);
  EXPECT_EQ(choice_.silent(0, 10'000, now_ + 1'500), Silence::suspect);
}

TEST_F(ServerChoiceTest, SlowReplies) {
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(choice_.replied(0, 1'500, now_));
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(choice_.replied(0, 10, now_)) << "quick ones";
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(choice_.replied(0, 1'500, now_));
  EXPECT_TRUE(choice_.replied(0, 1'000, now_));
  // One of three is quick, as where DATA is answered at once.
  bool slow = false;
  for (int message = 0; message < 3; ++message) {
    for (const int took : {1'500, 1'500, 5}) slow |= choice_.replied(0, took, now_);
  }
  EXPECT_TRUE(slow);
  // One of three is slow: recipients that are verified.
  for (int message = 0; message < 100; ++message) {
    for (const int took : {5, 1'500, 5}) EXPECT_FALSE(choice_.replied(0, took, now_));
  }
  views_[1].up = false;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(choice_.replied(0, 1'500, now_)) << "there is no other";
}

// --- standing

constexpr std::int64_t t0 = 1'000'000;

TEST(ServerStanding, ASuspectIsProbedAtOnceAndComesBack) {
  ServerStanding standing;
  EXPECT_FALSE(standing.passed_over() || standing.wants_probe());
  standing.suspect(t0);
  EXPECT_TRUE(standing.passed_over() && standing.wants_probe());
  standing.probe_started();
  EXPECT_FALSE(standing.wants_probe());
  standing.probed(true, 5, t0 + 100);
  EXPECT_TRUE(standing.passed_over()) << "one quick probe is no proof";
  standing.probed(true, 5, t0 + 10'000);
  EXPECT_FALSE(standing.passed_over());
}

TEST(ServerStanding, ASilentProbeIsProof) {
  ServerStanding standing;
  standing.probe_is_silent();
  EXPECT_FALSE(standing.hung()) << "nobody suspects it";
  standing.suspect(t0);
  standing.probe_is_silent();
  EXPECT_TRUE(standing.hung());
  standing.probed(false, 0, t0 + 10'000);
  EXPECT_TRUE(standing.hung());
  standing.probed(true, 5, t0 + 20'000);
  EXPECT_FALSE(standing.hung() || standing.passed_over());
}

// Faster than slow is not fast yet.
TEST(ServerStanding, SlowProbesWithHysteresis) {
  ServerStanding standing;
  standing.probed(true, 999, t0);
  EXPECT_FALSE(standing.passed_over());
  standing.probed(true, 3'000, t0);
  EXPECT_TRUE(standing.passed_over());
  standing.probed(true, 800, t0 + 60'000);
  EXPECT_TRUE(standing.passed_over());
  standing.probed(true, 100, t0 + 65'000);
  EXPECT_FALSE(standing.passed_over());
}

// Bad in a way that no probe can see: it gets less and less mail, and no message goes to and fro.
TEST(ServerStanding, EachRelapseTakesTwiceAsLong) {
  ServerStanding standing;
  std::int64_t now = t0;
  int returns = 0;
  for (const std::int64_t end = now + 3'600'000; now < end;) {
    standing.suspect(now);
    while (standing.passed_over()) standing.probed(true, 5, now += 1'000);
    ++returns;
    now += 2'000;
  }
  EXPECT_LE(returns, 18) << "10 s, 20 s, 40 s, ... 300 s";
  // Well for a minute: the next time is the first again.
  now += 61'000;
  standing.suspect(now);
  standing.probed(true, 5, now + 10'000);
  EXPECT_FALSE(standing.passed_over());
}

}  // namespace
}  // namespace portcullis::net
