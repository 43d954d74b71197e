// Listening sockets of all workers, and that nobody else listens on their addresses.
#include "proxy/net/sockets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace portcullis::net {
namespace {

config::Socket loopback(std::uint16_t port = 0) {
  config::Socket socket;
  socket.address.octets = {127, 0, 0, 1};
  socket.port = port;
  return socket;
}

std::uint16_t port_of(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

std::uint16_t free_port() {
  const int fd = bound(loopback(), false);
  const std::uint16_t port = port_of(fd);
  ::close(fd);
  return port;
}

config::Config config_with(std::vector<config::Socket> sockets) {
  config::Config config;
  config.listeners.emplace_back();
  config.listeners[0].name = "mx";
  config.listeners[0].sockets = std::move(sockets);
  return config;
}

TEST(Sockets, EachWorkerHasItsOwn) {
  const auto config = config_with({loopback(free_port())});
  const auto sockets = bind_sockets(config, 3, nullptr);
  ASSERT_TRUE(sockets) << sockets.error();
  ASSERT_EQ(sockets->size(), 3U);
  for (const auto& worker : *sockets) EXPECT_EQ(worker.size(), 1U);
  close_sockets(*sockets);
}

TEST(Sockets, ASecondGatewayIsRefused) {
  const auto config = config_with({loopback(free_port())});
  const auto first = bind_sockets(config, 2, nullptr);
  ASSERT_TRUE(first) << first.error();
  const auto second = bind_sockets(config, 2, nullptr);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error(), testing::HasSubstr("listener \"mx\": can not listen on 127.0.0.1 port"));
  EXPECT_THAT(second.error(), testing::HasSubstr("another gateway"));
  // On every address, and on one of them.
  config::Socket any = config.listeners[0].sockets[0];
  any.address.octets = {};
  EXPECT_FALSE(bind_sockets(config_with({any}), 2, nullptr));
  close_sockets(*first);
  const auto third = bind_sockets(config, 2, nullptr);
  ASSERT_TRUE(third) << third.error();
  close_sockets(*third);
}

TEST(Sockets, AReloadKeepsWhatStaysAndMayWidenIt) {
  const std::uint16_t port = free_port();
  const auto before = config_with({loopback(port)});
  const auto first = bind_sockets(before, 2, nullptr);
  ASSERT_TRUE(first) << first.error();
  const auto same = bind_sockets(before, 2, &before);
  ASSERT_TRUE(same);
  EXPECT_TRUE((*same)[0].empty());
  config::Socket any = loopback(port);
  any.address.octets = {};
  const auto wider = bind_sockets(config_with({any}), 2, &before);
  ASSERT_TRUE(wider) << wider.error();
  EXPECT_EQ((*wider)[0].size(), 1U);
  close_sockets(*wider);
  close_sockets(*first);
}

TEST(Sockets, AReloadIsRefusedWhereAnotherGatewayListens) {
  const auto theirs = config_with({loopback(free_port())});
  const auto other = bind_sockets(theirs, 1, nullptr);
  ASSERT_TRUE(other);
  const auto ours = config_with({loopback(free_port())});
  const auto first = bind_sockets(ours, 1, nullptr);
  ASSERT_TRUE(first);
  EXPECT_FALSE(bind_sockets(theirs, 1, &ours));
  close_sockets(*first);
  close_sockets(*other);
}

}  // namespace
}  // namespace portcullis::net
