// What the service manager is told, and that nothing waits for it.
#include "proxy/net/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

namespace portcullis::net {
namespace {

class ServiceManagerTest : public ::testing::Test {
 protected:
  // An abstract name: nothing stays in the file system.
  ServiceManagerTest() : name_("@portcullis-test-" + std::to_string(::getpid())) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name_.data() + 1, name_.size() - 1);
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address),
                     static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size())),
              0);
  }
  ~ServiceManagerTest() override { ::close(fd_); }

  std::vector<std::string> told() {
    std::vector<std::string> all;
    char text[4096];
    for (ssize_t size; (size = ::recv(fd_, text, sizeof text, 0)) >= 0;)
      all.emplace_back(text, static_cast<std::size_t>(size));
    return all;
  }

  std::string name_;
  int fd_;
};

using Texts = std::vector<std::string>;

TEST_F(ServiceManagerTest, AStateIsToldOnce) {
  ServiceManager manager({name_, 0});
  manager.state("READY=1");
  EXPECT_EQ(told(), Texts{"READY=1"});
  for (int i = 0; i < 100; ++i) manager.tick(i * 100, true);
  EXPECT_EQ(told(), Texts{});
}

TEST_F(ServiceManagerTest, TheWatchdogHearsTwiceInItsInterval) {
  ServiceManager manager({name_, 10'000'000});
  for (std::int64_t now = 1'000; now < 31'000; now += 100) manager.tick(now, true);
  EXPECT_EQ(told().size(), 6U);
}

TEST_F(ServiceManagerTest, TheWatchdogHearsNothingWhileSomethingIsStuck) {
  ServiceManager manager({name_, 10'000'000});
  manager.tick(1'000, true);
  for (std::int64_t now = 2'000; now < 60'000; now += 100) manager.tick(now, false);
  EXPECT_EQ(told(), Texts{"WATCHDOG=1"});
  manager.tick(60'000, true);
  EXPECT_EQ(told(), Texts{"WATCHDOG=1"});
}

TEST_F(ServiceManagerTest, WhoDoesNotReadHoldsNothingUp) {
  ServiceManager manager({name_, 2'000});
  std::int64_t now = 0;
  for (; now < 5'000; ++now) manager.tick(now, true);  // more than the socket takes
  manager.state("STOPPING=1");
  manager.state("STOPPING=1\nSTATUS=draining");
  told();
  manager.tick(++now, false);
  EXPECT_EQ(told(), Texts{"STOPPING=1\nSTATUS=draining"});
}

TEST_F(ServiceManagerTest, WithoutAManagerNothingHappens) {
  ServiceManager none({"", 1'000});
  none.state("READY=1");
  none.tick(1, true);
  ServiceManager gone({"/nowhere/at/all", 1'000});
  gone.state("READY=1");
  gone.tick(1, true);
  EXPECT_EQ(told(), Texts{});
}

}  // namespace
}  // namespace portcullis::net
