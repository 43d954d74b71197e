// How much of one client's input is carried out before others have their turn, and how much in all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/proxy/session/harness.h"

namespace portcullis::session::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

struct Setup patient() {
  struct Setup setup;
  setup.errors = 1000000;
  setup.commands_without_mail = 1000000;
  return setup;
}

std::string times(std::size_t count, std::string_view text) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

std::ptrdiff_t lines(const std::string& replies) { return std::ranges::count(replies, '\n'); }

class Turns : public ::testing::Test {
 protected:
  Turns() {
    h_.start();
    h_.client("HELO client.test\r\n");
    h_.client_out.clear();
  }
  Harness h_{patient()};
};

TEST_F(Turns, PipelinedCommandsTakeManyTurns) {
  h_.client(times(1000, "NOOP\r\n"));
  EXPECT_EQ(h_.client_out, times(1000, "250 2.0.0 Ok\r\n"));
  EXPECT_GE(h_.turns, 10U);
}

TEST_F(Turns, NobodyIsReadFromMeanwhile) {
  h_.hold_turns = true;
  h_.client(times(1000, "NOOP\r\n"));
  EXPECT_TRUE(h_.session().wants_turn());
  EXPECT_FALSE(h_.session().wants_client_bytes());
  const auto first = lines(h_.client_out);
  EXPECT_LE(first, 100);
  h_.take_turn();
  EXPECT_GT(lines(h_.client_out), first);
  h_.hold_turns = false;
  h_.take_turn();
  while (h_.session().wants_turn()) h_.take_turn();
  EXPECT_EQ(lines(h_.client_out), 1000);
  EXPECT_TRUE(h_.session().wants_client_bytes());
}

TEST_F(Turns, BytesThatComeMeanwhileWaitBehind) {
  h_.hold_turns = true;
  h_.client(times(200, "NOOP\r\n") + "VR");
  h_.client("FY x\r\n");
  while (h_.session().wants_turn()) h_.take_turn();
  EXPECT_EQ(h_.client_out, times(200, "250 2.0.0 Ok\r\n") + "252 2.5.2 Send mail to find out\r\n");
}

// Each command gets its reply before the client's end, or the gateway's, is acted on.
TEST_F(Turns, TheEndWaitsForItsTurn) {
  h_.hold_turns = true;
  h_.client(times(200, "NOOP\r\n"));
  h_.client_eof();
  EXPECT_FALSE(h_.session().finished());
  while (h_.session().wants_turn()) h_.take_turn();
  EXPECT_EQ(lines(h_.client_out), 200);
  EXPECT_TRUE(h_.session().finished());
}

TEST_F(Turns, ADrainWaitsForItsTurn) {
  h_.hold_turns = true;
  h_.client(times(200, "NOOP\r\n"));
  h_.drain();
  EXPECT_FALSE(h_.session().finished());
  while (h_.session().wants_turn()) h_.take_turn();
  EXPECT_TRUE(h_.session().finished());
  EXPECT_EQ(lines(h_.client_out), 201);
  EXPECT_THAT(h_.client_out, HasSubstr("421 4.3.2"));
}

TEST_F(Turns, AClientThatLeavesHasNoFurtherTurn) {
  h_.hold_turns = true;
  h_.client(times(200, "NOOP\r\n"));
  h_.client_lost();
  EXPECT_TRUE(h_.session().finished());
  EXPECT_FALSE(h_.session().wants_turn());
  h_.take_turn();
}

TEST_F(Turns, WhatIsWaitedForBringsItsOwnTurn) {
  h_.client(times(63, "NOOP\r\n") + "MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n" +
            times(5, "NOOP\r\n"));
  h_.upstream("250 ok\r\n250 ok\r\n");
  EXPECT_THAT(h_.client_out, EndsWith("354 End data with <CR><LF>.<CR><LF>\r\n"));
  h_.client("\r\n.\r\n");
  EXPECT_FALSE(h_.session().wants_turn());
}

TEST_F(Turns, ManyRecipientsTakeManyTurns) {
  h_.client("MAIL FROM:<a@elsewhere.test>\r\n" + times(500, "RCPT TO:<b@example.com>\r\n"));
  EXPECT_GE(h_.turns, 7U);
  h_.upstream("250 ok\r\n" + times(500, "250 ok\r\n"));
  EXPECT_EQ(lines(h_.client_out), 501);
}

// Chunks that bring no message nearer are commands without mail.
class SmallChunks : public ::testing::TestWithParam<std::string_view> {};

TEST_P(SmallChunks, AreBounded) {
  Harness h{[] {
    struct Setup setup;
    setup.commands_without_mail = 100;
    return setup;
  }()};
  h.start();
  h.client("EHLO client.test\r\n");
  h.client("MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<b@example.com>\r\n");
  h.upstream("250 ok\r\n250 ok\r\n");
  h.client("BDAT 26\r\nFrom: a@elsewhere.test\r\n\r\n");
  h.upstream("354 go\r\n");
  h.client_out.clear();
  for (int i = 0; i < 1000 && !h.session().finished(); ++i) h.client(GetParam());
  EXPECT_TRUE(h.session().finished());
  EXPECT_LE(lines(h.client_out), 101);
  EXPECT_THAT(h.client_out, HasSubstr("421 4.7.0 Too many small chunks"));
}

INSTANTIATE_TEST_SUITE_P(Sizes, SmallChunks,
                         ::testing::Values("BDAT 0\r\n", "BDAT 1\r\nx", "BDAT 4\r\nab\r\n"));

TEST_F(Turns, LargeChunksAreNotCounted) {
  Harness h{[] {
    struct Setup setup;
    setup.commands_without_mail = 10;
    return setup;
  }()};
  h.start();
  h.client("EHLO client.test\r\n");
  h.client("MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<b@example.com>\r\n");
  h.upstream("250 ok\r\n250 ok\r\n");
  h.client("BDAT 26\r\nFrom: a@elsewhere.test\r\n\r\n");
  h.upstream("354 go\r\n");
  for (int i = 0; i < 100; ++i) h.client("BDAT 1024\r\n" + std::string(1022, 'x') + "\r\n");
  h.client("BDAT 0 LAST\r\n");
  h.upstream("250 2.0.0 taken\r\n");
  EXPECT_FALSE(h.session().finished());
  EXPECT_THAT(h.client_out, HasSubstr("250 2.0.0 taken"));
}

}  // namespace
}  // namespace portcullis::session::testing
