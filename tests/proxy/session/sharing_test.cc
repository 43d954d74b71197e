// What a session says of the connection that it holds, and how it gives the connection up.
#include <gtest/gtest.h>

#include "tests/proxy/session/harness.h"

namespace portcullis::session::testing {
namespace {

const testing::Setup usual;
constexpr std::string_view envelope = "MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n";

class Sharing : public ::testing::Test {
 protected:
  Sharing() {
    h_.start();
    h_.client("HELO client.test\r\n");
    h_.client_out.clear();
  }
  void accept_envelope() {
    h_.client(envelope);
    h_.upstream("250 ok\r\n250 2.1.5 c\r\n");
  }
  UpstreamUse use() { return h_.hold().use; }

  Harness h_{usual};
};

TEST_F(Sharing, WhatAConnectionIsUsedFor) {
  EXPECT_EQ(use(), UpstreamUse::none);
  h_.client(envelope);
  EXPECT_EQ(use(), UpstreamUse::server_answers);
  h_.upstream("250 ok\r\n");
  EXPECT_EQ(use(), UpstreamUse::server_answers);
  h_.upstream("250 2.1.5 c\r\n");
  EXPECT_EQ(use(), UpstreamUse::idle);
  h_.client("NOOP\r\nRCPT TO:<half");
  EXPECT_EQ(use(), UpstreamUse::idle);
  h_.client("@example.com>\r\n");
  EXPECT_EQ(use(), UpstreamUse::server_answers);
  h_.upstream("250 2.1.5 d\r\n");
  h_.client("DATA\r\n");
  EXPECT_EQ(use(), UpstreamUse::client_sends);
  h_.client("From: a@elsewhere.test\r\n\r\n");
  EXPECT_EQ(use(), UpstreamUse::server_answers);
  h_.upstream("354 go\r\n");
  EXPECT_EQ(use(), UpstreamUse::client_sends);
  h_.upstream_full(true);
  EXPECT_EQ(use(), UpstreamUse::server_answers);
  h_.upstream_full(false);
  h_.client("x\r\n.\r\n");
  EXPECT_EQ(use(), UpstreamUse::ended);
  h_.upstream("250 2.0.0 queued\r\n");
  EXPECT_EQ(use(), UpstreamUse::none);
}

TEST_F(Sharing, SinceWhenItIsIdleWhateverElseTheClientSays) {
  accept_envelope();
  const std::int64_t since = h_.hold().since_ms;
  h_.pass(20);
  h_.client("NOOP\r\nVRFY x\r\n");
  EXPECT_EQ(h_.hold().since_ms, since);
}

TEST_F(Sharing, ADrippingClientIsSlowAndItsServerIsNot) {
  h_.client(envelope);
  h_.pass(20);
  h_.upstream("250 ok\r\n250 2.1.5 c\r\n");
  EXPECT_GT(h_.hold().pace_until_ms, h_.now_ms());
  h_.client("DATA\r\nFrom: a@elsewhere.test\r\n\r\n");
  h_.upstream("354 go\r\n");
  for (int i = 0; i < 5; ++i) {
    EXPECT_GE(h_.hold().pace_until_ms, h_.now_ms());
    h_.client(std::string(998, 'x') + "\r\n");
    h_.pass(1);
  }
  h_.pass(1);
  h_.client("x");
  EXPECT_LE(h_.hold().pace_until_ms, h_.now_ms() + 1);
}

// A client that makes the server repeat its work is not given unlimited turns.
TEST_F(Sharing, ATransactionGivesItsConnectionBackAFewTimesOnly) {
  accept_envelope();
  for (int i = 0; i < 4; ++i) {
    h_.yield();
    EXPECT_FALSE(h_.upstream_open());
    h_.upstream("250 reset\r\n");
    h_.client("RCPT TO:<d" + std::to_string(i) + "@example.com>\r\n");
    h_.upstream("250 ok\r\n");
    for (int repeated = 0; repeated < 2 + i; ++repeated) h_.upstream("250 2.1.5 ok\r\n");
    EXPECT_EQ(use(), UpstreamUse::idle) << i;
  }
  h_.client_out.clear();
  h_.yield();
  h_.client("DATA\r\n");
  h_.client("RSET\r\n");
  EXPECT_TRUE(h_.client_out.starts_with("451 4.3.2 ")) << h_.client_out;
  EXPECT_NE(h_.client_out.find("\r\n250 "), std::string::npos) << h_.client_out;
}

TEST_F(Sharing, NothingIsGivenBackWhileAReplyIsOwedOrAMessageIsUnderWay) {
  h_.client(envelope);
  h_.yield();
  h_.upstream("250 ok\r\n250 2.1.5 c\r\n");
  h_.client("DATA\r\nFrom: a@elsewhere.test\r\n");
  h_.yield();
  h_.client("\r\nx\r\n.\r\n");
  h_.yield();
  h_.upstream("354 go\r\n");
  h_.yield();
  EXPECT_EQ(h_.released + h_.aborted, 0U);
  h_.upstream("250 2.0.0 queued\r\n");
  EXPECT_EQ(h_.released, 1U);
}

TEST_F(Sharing, ASenderRefusedOnlyTheSecondTimeMayTryAgain) {
  accept_envelope();
  h_.yield();
  h_.upstream("250 reset\r\n");
  h_.client_out.clear();
  h_.client("DATA\r\n");
  h_.upstream("550 5.7.1 not any more\r\n503 5.5.1 MAIL first\r\n");
  EXPECT_TRUE(h_.client_out.starts_with("451 4.3.0 ")) << h_.client_out;
}

// A pooled connection may be dead: the envelope that is repeated begins afresh, as a first one does.
TEST_F(Sharing, AnEnvelopeIsRepeatedOnceMoreWhenThePooledConnectionIsDead) {
  testing::Setup setup;
  setup.reuse = true;
  Harness h(setup);
  h.start();
  h.client("HELO client.test\r\n" + std::string(envelope));
  h.upstream("250 ok\r\n250 2.1.5 c\r\n");
  h.yield();
  h.upstream("250 reset\r\n");
  h.client_out.clear();
  h.client("DATA\r\n");
  ASSERT_EQ(h.wires.size(), 1U);
  h.upstream_lost(LinkFailure::closed);
  ASSERT_EQ(h.wires.size(), 2U);
  EXPECT_EQ(h.wires[1], std::string("MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n"));
  EXPECT_EQ(h.client_out, "");
  h.upstream("250 ok\r\n250 2.1.5 c again\r\n");
  EXPECT_TRUE(h.client_out.starts_with("354 ")) << h.client_out;
}

// --- clients that leave

TEST_F(Sharing, WhoSaysNoMoreGetsNoConnectionForNothing) {
  h_.hold_acquire = true;
  h_.client(envelope);
  ASSERT_TRUE(h_.acquire_pending());
  h_.client_eof();
  EXPECT_FALSE(h_.acquire_pending());
  EXPECT_TRUE(h_.session().finished());
  EXPECT_NE(h_.client_out.find("250 2.1.0 Ok\r\n451 4.3.2 "), std::string::npos) << h_.client_out;
}

TEST_F(Sharing, WhoHasSaidAllStillGetsOne) {
  h_.hold_acquire = true;
  h_.client(std::string(envelope) + "DATA\r\nFrom: a@elsewhere.test\r\n\r\nx\r\n.\r\n");
  h_.client_eof();
  ASSERT_TRUE(h_.acquire_pending());
  h_.grant();
  EXPECT_TRUE(h_.hold().half_closed);
  h_.upstream("250 ok\r\n250 2.1.5 c\r\n");
  h_.upstream("354 go\r\n");
  h_.upstream("250 2.0.0 queued\r\n");
  EXPECT_NE(h_.client_out.find("250 2.0.0 queued"), std::string::npos) << h_.client_out;
  EXPECT_TRUE(h_.session().finished());
}

TEST_F(Sharing, WhatIsKnownIsToldWhenTheClientMayBeGone) {
  h_.client(envelope);
  h_.client_eof();
  EXPECT_EQ(h_.client_out, "250 2.1.0 Ok\r\n");
  EXPECT_FALSE(h_.session().finished());
  h_.upstream("250 ok\r\n250 2.1.5 c\r\n");
  EXPECT_TRUE(h_.session().finished());
}

TEST_F(Sharing, WhoLeavesDuringAuthIsGoneAtOnce) {
  testing::Setup setup;
  setup.auth = config::AuthMode::optional;
  setup.auth_without_tls = true;
  for (const bool delayed : {false, true}) {
    Harness h(setup);
    h.start();
    h.client("EHLO client.test\r\nAUTH PLAIN AGEAYg==\r\n");
    ASSERT_TRUE(h.asked_auth());
    if (delayed) h.auth_done(h.last_attempt, auth::Result::bad_credentials, {}, 5'000);
    ASSERT_FALSE(h.session().finished());
    h.client_eof();
    EXPECT_TRUE(h.session().finished());
  }
}

}  // namespace
}  // namespace portcullis::session::testing
