// An UpstreamConnection alone on a loop: what its owner is told, and what comes too late.
#include "proxy/net/upstream_connection.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace portcullis::net {
namespace {

class UpstreamConnectionTest : public ::testing::Test, protected UpstreamConnection::Owner {
 protected:
  UpstreamConnectionTest() {
    uv_loop_init(&loop_);
    context_.turn_end.start(loop_);
    settings_.name = "legacy";
    settings_.tls = config::UpstreamTls::off;
    settings_.servers.push_back({"localhost", 9});  // a name: it is looked up by another thread
    UpstreamConnection::Owner& owner = *this;
    connection_ = std::make_unique<UpstreamConnection>(
        context_, UpstreamConnection::Target{&settings_, 0, nullptr, false, "gateway.test", {}}, owner);
  }
  ~UpstreamConnectionTest() override {
    connection_.reset();
    context_.turn_end.close();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
  }
  void run_until_all_is_over() { uv_run(&loop_, UV_RUN_DEFAULT); }

  void on_opened(UpstreamConnection&) noexcept override {}
  void on_answer(UpstreamConnection&) noexcept override {}
  void on_lost(UpstreamConnection& lost) noexcept override { lost_.push_back(lost.link().failure()); }
  void on_handshake(const Handshake&) noexcept override {}

  uv_loop_t loop_{};
  std::vector<char> buffer_ = std::vector<char>(64 * 1024);
  LoopContext context_{&loop_, buffer_, {}};
  config::Upstream settings_;
  std::unique_ptr<UpstreamConnection> connection_;
  std::vector<session::LinkFailure> lost_;
};

// Owners keep a lost connection until nobody is inside it any more; that may be after its name was found.
TEST_F(UpstreamConnectionTest, ItsNameIsFoundWhenTimeIsOver) {
  connection_->open();
  connection_->fail(session::LinkFailure::timeout, "no answer in time");
  run_until_all_is_over();
  EXPECT_EQ(lost_, std::vector{session::LinkFailure::timeout});
}

TEST_F(UpstreamConnectionTest, ItsNameIsFoundWhenNobodyWantsIt) {
  connection_->open();
  connection_->abort();
  run_until_all_is_over();
  EXPECT_TRUE(lost_.empty());
}

}  // namespace
}  // namespace portcullis::net
