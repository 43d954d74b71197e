// Who may hold how many places: nobody can take all of them.
#include "proxy/net/listener_places.h"

#include <gtest/gtest.h>

namespace portcullis::net {
namespace {

using Answer = ListenerPlaces::Answer;

policy::IpNetwork network(unsigned number) {
  policy::IpAddress address;
  address.octets = {10, static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 8),
                    static_cast<std::uint8_t>(number)};
  return {address, 32};
}

class ListenerPlacesTest : public ::testing::Test {
 protected:
  bool connect(unsigned client, const std::string& listener = "mx", std::size_t most = 20000) {
    if (places_.take(listener, most) != Answer::taken) return false;
    if (places_.join(listener, most, network(client))) return true;
    places_.leave(listener);
    return false;
  }
  // As many as it gets, up to the limit for each network that is shipped.
  std::size_t greedy(unsigned client, std::size_t limit = 100) {
    std::size_t got = 0;
    while (got < limit && connect(client)) ++got;
    return got;
  }
  ListenerPlaces places_;
};

TEST_F(ListenerPlacesTest, AListenerHasSoMany) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(places_.take("mx", 3), Answer::taken);
  EXPECT_EQ(places_.take("mx", 3), Answer::listener_full);
  EXPECT_EQ(places_.take("submission", 3), Answer::taken);
  places_.leave("mx");
  EXPECT_EQ(places_.take("mx", 3), Answer::taken);
}

TEST_F(ListenerPlacesTest, AllListenersTogetherHaveSoMany) {
  places_.set_most(4);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(places_.take("mx", 100), Answer::taken);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(places_.take("submission", 100), Answer::taken);
  EXPECT_EQ(places_.take("mx", 100), Answer::all_full);
  places_.leave("submission");
  EXPECT_EQ(places_.take("mx", 100), Answer::taken);
}

// The descriptors of a process with 1024 of them, the shipped limit of 100 for each network.
TEST_F(ListenerPlacesTest, SixteenGreedyNetworksLeaveRoomForOthers) {
  places_.set_most(830);
  std::size_t taken = 0;
  for (unsigned client = 0; client < 16; ++client) taken += greedy(client);
  EXPECT_LT(taken, 830U - 80);
  for (unsigned client = 100; client < 150; ++client) EXPECT_TRUE(connect(client)) << client;
}

TEST_F(ListenerPlacesTest, OneNetworkWithoutALimitOfItsOwnTakesHalf) {
  places_.set_most(1000);
  EXPECT_LE(greedy(1, 1000), 510U);
  for (unsigned client = 100; client < 300; ++client) EXPECT_TRUE(connect(client)) << client;
}

TEST_F(ListenerPlacesTest, OneNetworkDoesNotTakeAListener) {
  std::size_t got = 0;
  while (connect(1, "mx", 50)) ++got;
  EXPECT_GE(got, 25U);
  EXPECT_LT(got, 35U);
  for (unsigned client = 2; client < 12; ++client) EXPECT_TRUE(connect(client, "mx", 50)) << client;
}

TEST_F(ListenerPlacesTest, AFewPlacesAreForOneDevice) {
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(connect(1, "printer", 3));
  EXPECT_FALSE(connect(1, "printer", 3));
}

TEST_F(ListenerPlacesTest, WhatIsGivenBackCanBeTakenAgain) {
  places_.set_most(64);
  for (int round = 0; round < 100; ++round) {
    std::size_t got = 0;
    while (connect(7)) ++got;
    EXPECT_GE(got, 32U);
    for (; got > 0; --got) {
      places_.part("mx", network(7));
      places_.leave("mx");
    }
  }
}

}  // namespace
}  // namespace portcullis::net
