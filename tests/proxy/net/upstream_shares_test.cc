// Who may take a connection, and whose turn it is.
#include "proxy/net/upstream_shares.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace portcullis::net {
namespace {

// A session as the book-keeping knows it: by its address in memory.
class Session final : public UpstreamBorrower {
 public:
  session::XClient xclient() const override { return {}; }
  PartyKey party() const override { return {}; }
  session::UpstreamHold upstream_hold() const override { return {}; }
  void on_upstream_answer(UpstreamConnection&) override {}
  void on_upstream_lost(UpstreamConnection&, session::LinkFailure, const std::string&) override {}
  void on_upstream_silent(UpstreamConnection&, bool) override {}
  void on_upstream_writable() override {}
  void on_upstream_granted(UpstreamConnection&) override {}
  void on_upstream_denied(session::LinkFailure, const std::string&) override {}
  void on_upstream_wanted(UpstreamConnection&, bool) override {}
};

constexpr std::size_t all = 50;
const UpstreamShares::Limits usual{.connections_max = all, .kept_free = 5, .for_users = 5, .waiting_max = 4};

PartyKey stranger(int number) { return {"4" + std::to_string(number), false}; }
PartyKey user(int number) { return {"u" + std::to_string(number), true}; }

// As many as each of them may have, in turns.
std::vector<std::size_t> fill(UpstreamShares& shares, const std::vector<PartyKey>& parties) {
  std::vector<std::size_t> held(parties.size());
  for (bool more = true; more;) {
    more = false;
    for (std::size_t i = 0; i < parties.size(); ++i) {
      if (!shares.may_take(parties[i], all - shares.held())) continue;
      shares.hold(parties[i]);
      ++held[i];
      more = true;
    }
  }
  return held;
}

TEST(UpstreamShares, OneNetworkLeavesRoomForOthersAndForUsers) {
  UpstreamShares shares(usual);
  EXPECT_EQ(fill(shares, {stranger(1)}).front(), 41U);
  EXPECT_TRUE(shares.may_take(stranger(2), all - shares.held()));
  EXPECT_EQ(fill(shares, {user(1)}).front(), 8U);
  EXPECT_TRUE(shares.may_take(user(2), all - shares.held()));
}

TEST(UpstreamShares, ManyNetworksLeaveOneForTheNext) {
  for (int networks = 1; networks <= 40; ++networks) {
    UpstreamShares shares(usual);
    std::vector<PartyKey> parties;
    for (int i = 0; i < networks; ++i) parties.push_back(stranger(i));
    fill(shares, parties);
    EXPECT_TRUE(shares.may_take(stranger(-1), all - shares.held())) << networks;
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(shares.may_take(user(i), all - shares.held())) << networks << ' ' << i;
      shares.hold(user(i));
    }
  }
}

TEST(UpstreamShares, AFewConnectionsAreNotDivided) {
  for (std::size_t few = 1; few < 10; ++few) {
    UpstreamShares shares({few, few * 10 / 100, few * 10 / 100, 10});
    while (shares.may_take(stranger(1), few - shares.held())) shares.hold(stranger(1));
    EXPECT_EQ(shares.held(), few);
  }
}

TEST(UpstreamShares, TheOneThatHoldsTheFewestIsNext) {
  UpstreamShares shares(usual);
  std::array<Session, 4> sessions;
  shares.hold(stranger(1));
  shares.hold(stranger(1));
  UpstreamShares::Party* second = shares.hold(stranger(2));
  shares.wait(sessions[0], stranger(1), 0, false);
  shares.wait(sessions[1], stranger(2), 1, false);
  shares.wait(sessions[2], stranger(2), 2, false);
  EXPECT_EQ(shares.servable(20), 3U);
  EXPECT_EQ(shares.servable(7), 1U);
  EXPECT_EQ(shares.next(20)->client, &sessions[1]);
  shares.give_back(second);
  EXPECT_EQ(shares.next(20)->client, &sessions[2]);
  EXPECT_EQ(shares.next(5), std::nullopt);  // they are for users
  EXPECT_EQ(shares.next(20)->client, &sessions[0]);
  EXPECT_EQ(shares.next(20), std::nullopt);
  EXPECT_EQ(shares.parties(), 1U);
}

TEST(UpstreamShares, AFullQueueIsNotOnePartysAlone) {
  UpstreamShares shares(usual);
  std::array<Session, 7> sessions;
  for (std::size_t i = 0; i < 4; ++i) EXPECT_FALSE(shares.wait(sessions[i], stranger(1), 0, false));
  EXPECT_EQ(shares.wait(sessions[4], stranger(1), 0, false)->client, &sessions[4]);
  EXPECT_EQ(shares.wait(sessions[5], stranger(2), 0, false)->client, &sessions[3]);
  EXPECT_EQ(shares.wait(sessions[6], stranger(2), 0, false)->client, &sessions[2]);
  EXPECT_EQ(shares.waiting(), 4U);
}

TEST(UpstreamShares, NobodyIsRememberedWhoNeitherHoldsNorWaits) {
  UpstreamShares shares({1, 0, 0, 0});
  Session session;
  EXPECT_EQ(shares.wait(session, stranger(1), 0, false)->client, &session);
  shares.give_back(shares.hold(stranger(2)));
  EXPECT_FALSE(shares.remove(session));
  EXPECT_EQ(shares.longest(1), std::nullopt);
  EXPECT_EQ(shares.parties(), 0U);
  EXPECT_EQ(shares.held(), 0U);
}

}  // namespace
}  // namespace portcullis::net
