// Sessions that end in the very event in which they leave one connection and ask for another: the one they
// have is left, and nothing is asked for any more.
#include <gtest/gtest.h>

#include "tests/proxy/session/harness.h"

namespace portcullis::session::testing {
namespace {

constexpr std::string_view message = "From: a@elsewhere.test\r\n\r\nx\r\n.\r\n";
constexpr std::string_view envelope = "MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n";
constexpr std::string_view last_words = "NOOP\n";  // a bare LF ends a session

class Leaving : public ::testing::Test {
 protected:
  Leaving() {
    h_.start();
    h_.client("HELO client.test\r\n");
  }
  void send_message() {
    h_.client("MAIL FROM:<a@elsewhere.test>\r\n");
    h_.client("RCPT TO:<c@example.com>\r\n");
    h_.upstream("250 ok\r\n250 ok\r\n");
    h_.client("DATA\r\n");
    h_.client(message);
    h_.upstream("354 go\r\n");
  }
  void expect_left() {
    EXPECT_TRUE(h_.session().finished());
    EXPECT_FALSE(h_.upstream_open());
    EXPECT_FALSE(h_.acquire_pending());
  }

  Harness h_{[] {
    struct Setup setup;
    setup.upstream_ehlo = "250-up\r\n250 PIPELINING\r\n";
    return setup;
  }()};
};

TEST_F(Leaving, AfterDataWasTakenBack) {
  for (int i = 0; i < 2; ++i) {
    send_message();
    h_.upstream("250 ok\r\n");
  }
  h_.client("MAIL FROM:<a@elsewhere.test>\r\n");
  h_.client("RCPT TO:<c@example.com>\r\n");
  h_.upstream("250 ok\r\n250 ok\r\n354 go\r\n");
  h_.client("RCPT TO:<d@example.com>\r\n" + std::string(last_words));
  expect_left();
  EXPECT_EQ(h_.aborted, 1U);
}

TEST_F(Leaving, AfterReset) {
  h_.client(envelope);
  h_.upstream("250 ok\r\n250 ok\r\n");
  h_.client("RSET\r\n" + std::string(envelope) + std::string(last_words));
  expect_left();
  EXPECT_EQ(h_.released, 1U);
}

TEST_F(Leaving, AfterAMessageThatOthersWaitedBehind) {
  send_message();
  h_.client(std::string(envelope) + std::string(last_words));
  h_.upstream("250 2.0.0 queued\r\n");
  expect_left();
  EXPECT_EQ(h_.released, 1U);
}

TEST_F(Leaving, WhileTheConnectionIsWaitedFor) {
  h_.hold_acquire = true;
  h_.client(envelope);
  EXPECT_TRUE(h_.acquire_pending());
  h_.client(last_words);
  expect_left();
}

// Who has said all, and closed that side, still hears the reply to each command.
TEST_F(Leaving, AfterCommandsThatWaitedForAnswersToThemselves) {
  for (const std::string answers : {"503 no recipients\r\n", "354 go\r\n"}) {
    const struct Setup usual;
    Harness h(usual);
    h.start();
    h.client("HELO client.test\r\n" + std::string(envelope) + "DATA\r\nQUIT\r\n");
    h.client_eof();
    h.upstream("250 ok\r\n550 no\r\n");
    h.upstream(answers);
    EXPECT_TRUE(h.session().finished());
    EXPECT_NE(h.client_out.find("554 5.5.1 No valid recipients"), std::string::npos) << h.client_out;
    EXPECT_NE(h.client_out.find("221 2.0.0"), std::string::npos) << h.client_out;
  }
}

}  // namespace
}  // namespace portcullis::session::testing
