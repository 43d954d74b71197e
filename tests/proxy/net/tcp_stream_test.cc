// A TcpStream toward a plain socket of the test's own: what leaves when, and what is told.
#include "proxy/net/tcp_stream.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace portcullis::net {
namespace {

class TcpStreamTest : public ::testing::Test, protected TcpStream::Handler {
 protected:
  void SetUp() override {
    uv_loop_init(&loop_);
    context_.turn_end.start(loop_);
    TcpStream::Handler& handler = *this;
    stream_ = std::make_unique<TcpStream>(context_, handler);
    const int listening = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);  // NOLINT: sockets API
    ASSERT_EQ(bind(listening, any, size), 0);
    ASSERT_EQ(listen(listening, 1), 0);
    ASSERT_EQ(getsockname(listening, any, &size), 0);
    ASSERT_EQ(stream_->connect(any), 0);
    peer_ = accept(listening, nullptr, nullptr);
    ::close(listening);
    while (!connected_) uv_run(&loop_, UV_RUN_ONCE);
    stream_->read(true);
  }
  void TearDown() override {
    stream_.reset();
    context_.turn_end.close();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
    ::close(peer_);
  }

  void turn() { uv_run(&loop_, UV_RUN_NOWAIT); }
  // What has arrived so far.
  std::string arrived() {
    std::string all(1024 * 1024, '\0');
    const ssize_t size = recv(peer_, all.data(), all.size(), MSG_DONTWAIT);
    all.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return all;
  }
  std::string arrives(std::size_t octets) {
    std::string all;
    for (int i = 0; i < 100000 && all.size() < octets; ++i) {
      turn();
      all += arrived();
    }
    return all;
  }
  bool peer_sees_end() {
    char octet = 0;
    return recv(peer_, &octet, 1, 0) == 0;
  }

  void on_connected(int status) noexcept override { connected_ = status == 0; }
  void on_bytes(std::string_view bytes) noexcept override {
    read_ += bytes;
    sizes_.push_back(bytes.size());
    for (const std::int64_t until = thread_ns() + busy_ns_; thread_ns() < until;) {
    }
  }
  static std::int64_t thread_ns() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
  }
  // As much from the peer as there is room for.
  void fill() {
    const std::string bytes(256 * 1024, 'x');
    while (send(peer_, bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
    }
  }
  void on_end(bool reset) noexcept override { ends_.push_back(reset); }
  void on_flushed() noexcept override { ++flushed_; }
  bool on_sending() noexcept override {
    ++sendings_;
    if (may_send_) return true;
    stream_->abort();
    return false;
  }

  uv_loop_t loop_{};
  std::vector<char> buffer_ = std::vector<char>(64 * 1024);
  LoopContext context_{&loop_, buffer_, {}};
  std::unique_ptr<TcpStream> stream_;
  int peer_ = -1;
  bool connected_ = false;
  bool may_send_ = true;
  int sendings_ = 0;
  int flushed_ = 0;
  std::string read_;
  std::vector<std::size_t> sizes_;  // of reads
  std::int64_t busy_ns_ = 0;        // processor time that each takes
  std::vector<bool> ends_;
};

TEST_F(TcpStreamTest, WhatIsWrittenInATurnLeavesAtItsEndInOnePiece) {
  stream_->write("250 one\r\n");
  session::Output more;
  more.append("250 two\r\n");
  stream_->write(more);
  EXPECT_EQ(arrived(), "");
  EXPECT_EQ(stream_->queued(), 18U);
  turn();
  EXPECT_EQ(arrived(), "250 one\r\n250 two\r\n");
  EXPECT_EQ(sendings_, 1);
  EXPECT_EQ(stream_->queued(), 0U);
  turn();
  EXPECT_EQ(sendings_, 1);
}

// How long others wait depends on the time that is spent on one stream, not on its octets.
TEST_F(TcpStreamTest, WhatTakesLongIsReadInSmallPieces) {
  busy_ns_ = 1'000'000;
  for (int i = 0; i < 10; ++i) {
    fill();
    const std::size_t before = sizes_.size();
    turn();
    EXPECT_LE(sizes_.size(), before + 1);
  }
  ASSERT_FALSE(sizes_.empty());
  EXPECT_EQ(sizes_.back(), 8U * 1024);
  busy_ns_ = 0;
  sizes_ = {0};
  // How far it grows depends on how slow a sanitizer makes this test's own handler.
  const auto largest = [this] { return *std::max_element(sizes_.begin(), sizes_.end()); };
  for (int i = 0; i < 1000 && largest() < 16 * 1024; ++i) {
    fill();
    turn();
  }
  EXPECT_GE(largest(), 16U * 1024);
}

TEST_F(TcpStreamTest, LongContentGoesAtOnceUnlessItIsToWait) {
  const std::string content(20'000, 'x');
  session::Output output;
  output.append("BDAT 20000\r\n");
  output.append_view(content);
  stream_->write(output);
  EXPECT_EQ(arrived(), "BDAT 20000\r\n" + content);
  stream_->write(output, When::turn_end);
  EXPECT_EQ(arrived(), "");
  turn();
  EXPECT_EQ(arrived().size(), output.size());
}

TEST_F(TcpStreamTest, LongContentStaysBehindWhatWasWrittenBefore) {
  stream_->write("first ");
  stream_->write(std::string(20'000, 'x'));
  EXPECT_EQ(arrived(), "");
  turn();
  EXPECT_EQ(arrived(), "first " + std::string(20'000, 'x'));
}

TEST_F(TcpStreamTest, WhatTheSocketDoesNotTakeFollowsInOrder) {
  std::string all;
  session::Output output;
  for (int i = 0; i < 400; ++i) {
    const std::string piece(i % 3 == 0 ? 40'000 : 100, static_cast<char>('a' + i % 26));
    all += piece;
    output.clear();
    output.append_view(piece);
    i % 2 == 0 ? stream_->write(output) : stream_->write(piece);
    if (i % 5 == 0) turn();
  }
  EXPECT_GT(stream_->queued(), 0U);
  EXPECT_TRUE(arrives(all.size()) == all);
  turn();
  EXPECT_EQ(stream_->queued(), 0U);
  EXPECT_GT(flushed_, 0);
}

// The peer reads all the while, so that there is room again at any moment: between what the socket did not
// take and libuv's own attempt at it, between that and its callback, and behind it.
TEST_F(TcpStreamTest, OrderHoldsWhenRoomComesAtAnyMoment) {
  constexpr std::size_t total = 384UL * 1024 * 1024;
  const auto octet_at = [](std::size_t place) { return static_cast<char>(place / 997 % 251); };
  std::size_t read = 0;
  std::size_t wrong = 0;
  std::thread reader([&] {
    std::string some(200'000, '\0');
    std::minstd_rand random;
    for (ssize_t size = 0; (size = recv(peer_, some.data(), random() % some.size() + 1, 0)) > 0;) {
      for (const char octet : std::string_view(some).substr(0, static_cast<std::size_t>(size))) {
        if (octet != octet_at(read++)) ++wrong;
      }
    }
  });
  std::string block(64UL * 1024, '\0');
  for (std::size_t place = 0; place < total;) {
    // As much as a session may write for one read of its client; then it waits until that is gone.
    for (std::size_t i = 0; i < 1 + place / block.size() % 9 && place < total; ++i) {
      for (char& octet : block) octet = octet_at(place++);
      stream_->write(block);
    }
    do {
      turn();
    } while (stream_->queued() > 0);
  }
  stream_->shutdown();
  turn();
  reader.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(read, total);
}

TEST_F(TcpStreamTest, WhoeverStoppedReadingForWhatIsQueuedHearsWhenItIsGone) {
  for (int i = 0; i < 30; ++i) stream_->write(std::string(1'000, 'x'));
  turn();
  EXPECT_EQ(stream_->queued(), 0U);
  EXPECT_EQ(flushed_, 1);
}

TEST_F(TcpStreamTest, NothingIsSentThatMustNotBe) {
  may_send_ = false;
  stream_->write("DATA\r\n");
  turn();
  EXPECT_FALSE(stream_->open());
  EXPECT_TRUE(peer_sees_end());
  stream_->write("too late");
  turn();
  EXPECT_EQ(sendings_, 1);
}

TEST_F(TcpStreamTest, LongContentThatMustNotBeSent) {
  may_send_ = false;
  stream_->write(std::string(20'000, 'x'));
  EXPECT_TRUE(peer_sees_end());
}

TEST_F(TcpStreamTest, CloseHandsOverWhatWasWritten) {
  stream_->write("221 bye\r\n");
  stream_->close();
  EXPECT_EQ(arrived(), "221 bye\r\n");
  turn();
  EXPECT_TRUE(peer_sees_end());
}

TEST_F(TcpStreamTest, AbortDropsIt) {
  stream_->write("never");
  stream_->abort();
  turn();
  EXPECT_TRUE(peer_sees_end());
}

TEST_F(TcpStreamTest, ADestroyedStreamSendsNothing) {
  stream_->write("never");
  stream_.reset();
  turn();
  EXPECT_EQ(sendings_, 0);
  EXPECT_TRUE(peer_sees_end());
}

TEST_F(TcpStreamTest, ShutdownComesBehindWhatWasWritten) {
  stream_->write("last words");
  stream_->shutdown();
  turn();
  EXPECT_EQ(arrived(), "last words");
  EXPECT_TRUE(peer_sees_end());
}

TEST_F(TcpStreamTest, ShutdownComesBehindWhatWaitsForRoomToo) {
  std::string all;
  while (stream_->queued() == 0) {
    all += std::string(100'000, 'x');
    stream_->write(std::string(100'000, 'x'));
  }
  stream_->write("last words");
  stream_->shutdown();
  EXPECT_TRUE(arrives(all.size() + 10) == all + "last words");
  turn();
  EXPECT_TRUE(peer_sees_end());
}

TEST_F(TcpStreamTest, MoreThanABufferIsReadInOneTurn) {
  const std::string sent(150'000, 'x');
  const int size = 400'000;
  setsockopt(peer_, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  std::size_t gone = 0;
  while (gone < sent.size()) {
    const ssize_t now = send(peer_, sent.data() + gone, sent.size() - gone, MSG_DONTWAIT);
    if (now > 0) gone += static_cast<std::size_t>(now);
    if (now < 0) turn();
  }
  for (int i = 0; i < 1000 && read_.size() < sent.size(); ++i) turn();
  EXPECT_TRUE(read_ == sent);
  stream_->read(false);
  send(peer_, "later", 5, 0);
  turn();
  EXPECT_EQ(read_.size(), sent.size());
  EXPECT_TRUE(stream_->readable_now());
  stream_->read(true);
  while (read_.size() < sent.size() + 5) turn();
  EXPECT_FALSE(stream_->readable_now());
}

TEST_F(TcpStreamTest, TheEndIsToldOnceBehindTheLastOctets) {
  send(peer_, "QUIT\r\n", 6, 0);
  ::shutdown(peer_, SHUT_WR);
  for (int i = 0; i < 1000 && ends_.empty(); ++i) turn();
  turn();
  EXPECT_EQ(read_, "QUIT\r\n");
  EXPECT_EQ(ends_, std::vector<bool>{false});
}

TEST_F(TcpStreamTest, AResetIsToldAsOne) {
  const linger at_once{1, 0};
  setsockopt(peer_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ::close(peer_);
  peer_ = -1;
  for (int i = 0; i < 1000 && ends_.empty(); ++i) turn();
  stream_->write("into the void");
  turn();
  EXPECT_EQ(ends_, std::vector<bool>{true});
}

}  // namespace
}  // namespace portcullis::net
