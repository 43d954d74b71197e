// A listening socket on a loop: how many connections a turn, what happens when descriptors run out, and that
// it may be dropped at any time.
#include "proxy/net/acceptor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vector>

#include "proxy/net/sockets.h"
#include "proxy/net/uv_calls.h"

namespace portcullis::net {
namespace {

class AcceptorTest : public ::testing::Test, protected Acceptor::Host {
 protected:
  void SetUp() override {
    ASSERT_TRUE(uv::init(loop_).ok());
    config::Socket loopback;
    loopback.address.octets = {127, 0, 0, 1};
    const int fd = bound(loopback, false);
    ASSERT_GE(fd, 0);
    auto made = Acceptor::listen(loop_, fd, *this);
    ASSERT_TRUE(made) << made.error();
    acceptor_ = std::move(*made);
    socklen_t size = sizeof address_;
    ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address_), &size), 0);
  }
  void TearDown() override {
    acceptor_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
    for (const int fd : accepted_) ::close(fd);
    for (const int fd : clients_) ::close(fd);
  }

  void connect(int clients) {
    for (int i = 0; i < clients; ++i) {
      clients_.push_back(::socket(AF_INET, SOCK_STREAM, 0));
      ASSERT_EQ(::connect(clients_.back(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_), 0);
    }
  }
  void turn() { uv_run(&loop_, UV_RUN_NOWAIT); }

  void on_accepted(Acceptor&, int fd, const sockaddr_storage& peer) noexcept override {
    accepted_.push_back(fd);
    families_.push_back(peer.ss_family);
    if (drop_at_ == accepted_.size()) acceptor_.reset();
  }
  void on_accept_pause(Acceptor&, int error) noexcept override { pauses_.push_back(error); }

  uv_loop_t loop_{};
  std::unique_ptr<Acceptor> acceptor_;
  sockaddr_in address_{};
  std::vector<int> clients_, accepted_, pauses_;
  std::vector<int> families_;
  std::size_t drop_at_ = 0;
};

TEST_F(AcceptorTest, SoManyConnectionsATurn) {
  connect(40);
  turn();
  EXPECT_EQ(accepted_.size(), std::size_t{Acceptor::most_a_turn});
  turn();
  turn();
  EXPECT_EQ(accepted_.size(), 40U);
  EXPECT_EQ(families_, std::vector<int>(40, AF_INET));
}

TEST_F(AcceptorTest, AcceptedSocketsDoNotBlockAndAreNotInherited) {
  connect(1);
  turn();
  ASSERT_EQ(accepted_.size(), 1U);
  EXPECT_NE(fcntl(accepted_[0], F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(accepted_[0], F_GETFD) & FD_CLOEXEC, 0);
  int on = 0;
  socklen_t size = sizeof on;
  ASSERT_EQ(getsockopt(accepted_[0], IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
  EXPECT_NE(on, 0);
}

TEST_F(AcceptorTest, MayBeDroppedWhileItAccepts) {
  connect(5);
  drop_at_ = 2;
  turn();
  turn();
  EXPECT_EQ(accepted_.size(), 2U);
}

// Without the pause the loop would turn for nothing as fast as it can: the socket stays readable.
TEST_F(AcceptorTest, PausesWhenDescriptorsRunOutAndGoesOnLater) {
  connect(3);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = ::dup(0);
  ::close(next);
  const rlimit none{static_cast<rlim_t>(next), before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  int turns = 0;
  const std::uint64_t began = uv_hrtime();
  while (pauses_.size() < 3) {
    uv_run(&loop_, UV_RUN_ONCE);
    ++turns;
  }
  const std::uint64_t took_ms = (uv_hrtime() - began) / 1'000'000;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(pauses_, std::vector(3, EMFILE));
  EXPECT_GE(took_ms, 2 * Acceptor::pause_ms);
  EXPECT_LT(turns, 20);
  EXPECT_TRUE(accepted_.empty());
  while (accepted_.size() < 3) uv_run(&loop_, UV_RUN_ONCE);
}

TEST_F(AcceptorTest, MayBeDroppedWhileItPauses) {
  connect(1);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{3, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  turn();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(pauses_.size(), 1U);
  acceptor_.reset();
}

TEST(AcceptErrors, TheConnectionIsLostOrTheSystemIsShort) {
  for (const int error : {ECONNABORTED, EINTR, EPROTO, ENETDOWN, EHOSTUNREACH, EPERM})
    EXPECT_EQ(Acceptor::after(error), Acceptor::Then::next) << error;
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM, EINVAL, EBADF})
    EXPECT_EQ(Acceptor::after(error), Acceptor::Then::pause) << error;
  EXPECT_EQ(Acceptor::after(EAGAIN), Acceptor::Then::wait);
}

}  // namespace
}  // namespace portcullis::net
