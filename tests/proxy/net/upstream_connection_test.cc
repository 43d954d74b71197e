// An UpstreamConnection alone on a loop: names that are found late or never, addresses that refuse, drop or
// never greet, and what comes too late.
#include "proxy/net/upstream_connection.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace portcullis::net {
namespace {

using session::LinkFailure;

dns::Address loopback(unsigned last, std::uint16_t port = 0) {
  dns::Address out{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(out);
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  v4.sin_addr.s_addr = htonl(0x7f000000U + last);
  return out;
}

// A listening socket at 127.0.0.`last`. Nobody accepts: the kernel takes connections, and nothing is said.
class Listening {
 public:
  Listening(unsigned last, std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const dns::Address address = loopback(last, port);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(sockaddr_in)), 0);
    EXPECT_EQ(::listen(fd_, 8), 0);
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
  ~Listening() { ::close(fd_); }
  std::uint16_t port() const {
    sockaddr_in address{};
    socklen_t length = sizeof address;
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    return ntohs(address.sin_port);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

// Greets one connection and answers EHLO.
class Greeting {
 public:
  explicit Greeting(const Listening& listening) : fd_(listening.fd()), thread_([this] { serve(); }) {}
  Greeting(const Greeting&) = delete;
  Greeting& operator=(const Greeting&) = delete;
  ~Greeting() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    if (client_ >= 0) ::close(client_);
  }

 private:
  void serve() {
    client_ = ::accept(fd_, nullptr, nullptr);
    if (client_ < 0) return;
    std::array<char, 512> buffer;
    ::send(client_, "220 up\r\n", 8, MSG_NOSIGNAL);
    ::recv(client_, buffer.data(), buffer.size(), 0);
    ::send(client_, "250 up\r\n", 8, MSG_NOSIGNAL);
  }

  int fd_;
  int client_ = -1;
  std::thread thread_;
};

class UpstreamConnectionTest : public ::testing::Test, protected UpstreamConnection::Owner {
 protected:
  UpstreamConnectionTest() {
    EXPECT_EQ(uv_loop_init(&loop_), 0);
    context_.turn_end.start(loop_);
    settings_.name = "legacy";
    settings_.tls = config::UpstreamTls::off;
  }
  ~UpstreamConnectionTest() override {
    connection_.reset();
    context_.turn_end.close();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
    *held_ = false;
  }
  void open(std::uint16_t port, std::int64_t milliseconds) {
    settings_.servers.assign(1, {"legacy.test", port});
    UpstreamConnection::Owner& owner = *this;
    connection_ = std::make_unique<UpstreamConnection>(
        context_, UpstreamConnection::Target{&settings_, 0, nullptr, false, "gateway.test", {}, &book_},
        owner);
    uv_update_time(&loop_);
    connection_->deadline_ms = static_cast<std::int64_t>(uv_now(&loop_)) + milliseconds;
    connection_->open();
  }
  // As an owner does, until it is open or lost.
  void run() {
    while (!opened_ && lost_.empty()) turn();
  }
  void turn() {
    uv_run(&loop_, UV_RUN_NOWAIT);
    const auto now = static_cast<std::int64_t>(uv_now(&loop_));
    if (connection_->due(now)) connection_->attend(now);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }

  void on_opened(UpstreamConnection&) noexcept override { opened_ = true; }
  void on_answer(UpstreamConnection&) noexcept override {}
  void on_lost(UpstreamConnection& lost) noexcept override { lost_.push_back(lost.link().failure()); }
  void on_handshake(const Handshake&) noexcept override {}

  uv_loop_t loop_{};
  std::vector<char> buffer_ = std::vector<char>(64 * 1024);
  LoopContext context_{&loop_, buffer_, {}};
  config::Upstream settings_;
  std::shared_ptr<std::atomic<bool>> held_ = std::make_shared<std::atomic<bool>>(false);
  std::vector<dns::Address> addresses_ = {loopback(1)};
  dns::AddressBook book_{[this, held = held_](const std::string&) {
    auto found = addresses_;
    while (*held) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return std::expected<std::vector<dns::Address>, std::string>(std::move(found));
  }};
  std::unique_ptr<UpstreamConnection> connection_;
  std::vector<LinkFailure> lost_;
  bool opened_ = false;
};

TEST_F(UpstreamConnectionTest, ItsNameIsFoundLate) {
  const Listening up(1, 0);
  const Greeting greeting(up);
  *held_ = true;
  open(up.port(), 20'000);
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_FALSE(opened_);
  *held_ = false;
  run();
  EXPECT_TRUE(opened_);
}

TEST_F(UpstreamConnectionTest, ItsNameIsFoundWhenTimeIsOver) {
  *held_ = true;
  open(9, 50);
  run();
  EXPECT_EQ(lost_, std::vector{LinkFailure::timeout});
  EXPECT_EQ(connection_->link().failure_text(), "the resolver does not answer");
  *held_ = false;
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_EQ(lost_.size(), 1U);
}

TEST_F(UpstreamConnectionTest, ItsNameIsFoundWhenNobodyWantsIt) {
  *held_ = true;
  open(9, 20'000);
  connection_->abort();
  *held_ = false;
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_TRUE(lost_.empty());
}

TEST_F(UpstreamConnectionTest, AnAddressThatRefusesCostsNoTime) {
  const Listening up(1, 0);
  const Greeting greeting(up);
  addresses_ = {loopback(2), loopback(1)};
  open(up.port(), 20'000);
  run();
  EXPECT_TRUE(opened_);
  EXPECT_EQ(book_.find("legacy.test").preferred, 1U) << "it comes last for a while";
}

TEST_F(UpstreamConnectionTest, AnAddressThatNeverGreetsHasAShareOfTheTime) {
  const Listening up(1, 0);
  const Listening silent(2, up.port());
  const Greeting greeting(up);
  addresses_ = {loopback(2), loopback(1)};
  open(up.port(), 2'000);
  run();
  EXPECT_TRUE(opened_);
  EXPECT_TRUE(lost_.empty());
  // The next one need not find out again.
  EXPECT_EQ(reinterpret_cast<const sockaddr_in&>(book_.find("legacy.test").addresses[0]).sin_addr.s_addr,
            htonl(0x7f000001));
}

// Where every address has failed lately none is cut short: they may all be slow.
TEST_F(UpstreamConnectionTest, TheLastHopeHasAllOfTheTime) {
  const Listening up(1, 0);
  const Listening silent(2, up.port());
  addresses_ = {loopback(2), loopback(1)};
  static_cast<void>(book_.wait("legacy.test", dns::AddressBook::Clock::now() + std::chrono::seconds(20)));
  for (const dns::Address& each : addresses_) book_.failed("legacy.test", each);
  const Greeting greeting(silent);
  open(up.port(), 20'000);
  run();
  EXPECT_TRUE(opened_);
}

}  // namespace
}  // namespace portcullis::net
