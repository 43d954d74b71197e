// What is taken back for those who wait, and what never is.
#include "proxy/net/upstream_reclaim.h"

#include <gtest/gtest.h>

namespace portcullis::net {
namespace {

using session::UpstreamUse;

constexpr std::int64_t now_ms = 100'000;
constexpr std::int64_t long_ago = now_ms - 60'000;
constexpr std::int64_t just_now = now_ms - 10;

ReclaimPlan::Holder holder(std::size_t party, UpstreamUse use, std::int64_t since_ms,
                           std::int64_t pace_until_ms = now_ms + 500) {
  return {party, true, false, {use, since_ms, pace_until_ms, false}};
}

class Reclaiming : public ::testing::Test {
 protected:
  // The reason for which one of `holder_party`'s connections is taken for a session that waits.
  std::optional<ReclaimReason> reason(const ReclaimPlan::Holder& only, std::size_t its_party_holds,
                                      std::size_t waiters_party_holds, std::int64_t waits_since = long_ago) {
    ReclaimPlan plan(limits_, now_ms);
    plan.add_party(its_party_holds);
    plan.add_holder(only);
    plan.take_for(plan.add_party(waiters_party_holds), waits_since, false);
    if (plan.chosen().empty()) return std::nullopt;
    return plan.chosen().front().reason;
  }
  ReclaimPlan::Limits limits_;
};

TEST_F(Reclaiming, AnIdleConnectionWhoeverHasIt) {
  EXPECT_EQ(reason(holder(0, UpstreamUse::idle, long_ago), 1, 5, just_now), ReclaimReason::idle);
  EXPECT_EQ(reason(holder(0, UpstreamUse::idle, just_now), 50, 0), std::nullopt);
  // Between two RCPTs that are dripped it is idle for a moment only.
  EXPECT_EQ(reason(holder(0, UpstreamUse::idle, just_now, now_ms - 1), 1, 0), ReclaimReason::idle);
}

TEST_F(Reclaiming, NeverWhatWaitsForTheReplyToAMessage) {
  EXPECT_EQ(reason(holder(0, UpstreamUse::ended, long_ago, long_ago), 50, 0), std::nullopt);
  auto half_closed = holder(0, UpstreamUse::ended, long_ago, long_ago);
  half_closed.hold.half_closed = true;
  EXPECT_EQ(reason(half_closed, 50, 0), std::nullopt);
}

TEST_F(Reclaiming, AClientThatKeepsUpIsLeftAlone) {
  EXPECT_EQ(reason(holder(0, UpstreamUse::client_sends, long_ago), 50, 0), std::nullopt);
  EXPECT_EQ(reason(holder(0, UpstreamUse::client_sends, long_ago, now_ms + 1), 50, 0), std::nullopt);
}

TEST_F(Reclaiming, ASlowClientOfThoseThatHoldMore) {
  const auto slow = holder(0, UpstreamUse::client_sends, long_ago, now_ms - 1);
  EXPECT_EQ(reason(slow, 2, 0), ReclaimReason::slow_client);
  EXPECT_EQ(reason(slow, 1, 0), std::nullopt);
  EXPECT_EQ(reason(slow, 5, 4), std::nullopt);
  EXPECT_EQ(reason(slow, 2, 0, just_now), std::nullopt);  // one may still come back by itself
}

TEST_F(Reclaiming, AClientThatHasBeenSlowForLong) {
  EXPECT_EQ(reason(holder(0, UpstreamUse::client_sends, long_ago, now_ms - 10'000), 1, 0),
            ReclaimReason::stalled);
  EXPECT_EQ(reason(holder(0, UpstreamUse::client_sends, long_ago, now_ms - 9'000), 1, 0), std::nullopt);
}

TEST_F(Reclaiming, AServerThatIsSlowToAnswerThoseThatHoldMore) {
  EXPECT_EQ(reason(holder(0, UpstreamUse::server_answers, now_ms - 1'000), 2, 0), ReclaimReason::slow_server);
  EXPECT_EQ(reason(holder(0, UpstreamUse::server_answers, now_ms - 900), 2, 0), std::nullopt);
  EXPECT_EQ(reason(holder(0, UpstreamUse::server_answers, long_ago), 1, 0), std::nullopt);
}

TEST_F(Reclaiming, AClientThatMayHaveLeft) {
  auto left = holder(0, UpstreamUse::server_answers, now_ms - 300);
  left.hold.half_closed = true;
  EXPECT_EQ(reason(left, 1, 0), ReclaimReason::half_closed);
}

TEST_F(Reclaiming, WhatAClientThatHasLeftLeftBehind) {
  ReclaimPlan::Holder left;
  left.has_session = false;
  left.hold.since_ms = now_ms - 300;
  EXPECT_EQ(reason(left, 1, 0, just_now), ReclaimReason::unsettled);
  left.hold.since_ms = just_now;
  EXPECT_EQ(reason(left, 1, 0, just_now), std::nullopt);
}

TEST_F(Reclaiming, HarmlessOnesFirstThenThoseOfTheGreediest) {
  ReclaimPlan plan(limits_, now_ms);
  const std::size_t greedy = plan.add_party(3);
  const std::size_t modest = plan.add_party(2);
  const std::size_t waiting = plan.add_party(0);
  plan.add_holder(holder(greedy, UpstreamUse::client_sends, long_ago, long_ago));
  plan.add_holder(holder(modest, UpstreamUse::idle, long_ago));
  plan.add_holder(holder(greedy, UpstreamUse::idle, just_now - 1'000));
  plan.add_holder(holder(greedy, UpstreamUse::idle, just_now - 2'000));
  for (int i = 0; i < 4; ++i) plan.take_for(waiting, long_ago, false);
  std::vector<std::size_t> order;
  for (const Reclaim& reclaim : plan.chosen()) order.push_back(reclaim.holder);
  EXPECT_EQ(order, (std::vector<std::size_t>{3, 1, 2, 0}));
}

TEST_F(Reclaiming, OnePartysOwnForAPartyThatHasItsShare) {
  ReclaimPlan plan(limits_, now_ms);
  const std::size_t greedy = plan.add_party(45);
  const std::size_t other = plan.add_party(1);
  plan.add_holder(holder(other, UpstreamUse::idle, long_ago));
  plan.add_holder(holder(greedy, UpstreamUse::idle, now_ms - 300));
  plan.take_for(greedy, long_ago, true);
  plan.take_for(greedy, long_ago, true);
  ASSERT_EQ(plan.chosen().size(), 1U);
  EXPECT_EQ(plan.chosen().front().holder, 1U);
}

}  // namespace
}  // namespace portcullis::net
