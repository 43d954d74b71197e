// Who is waited for, and how long: a client is never left waiting longer than the peer it waits for may take.
#include <gtest/gtest.h>

#include "tests/proxy/session/harness.h"

namespace portcullis::session::testing {
namespace {

constexpr std::int64_t start_ms = 1000;         // the harness's clock stands still
constexpr std::uint32_t upstream_seconds = 45;  // unlike all others
const config::Upstream defaults;

Setup setup(std::uint32_t upstream_command_seconds = upstream_seconds) {
  Setup setup;
  setup.upstream_command_seconds = upstream_command_seconds;
  return setup;
}

std::int64_t waits_seconds(Harness& harness) { return (harness.session().deadline_ms() - start_ms) / 1000; }

TEST(Deadlines, ForAConnectionThenForEachReply) {
  Harness harness(setup());
  harness.hold_acquire = true;
  harness.start();
  harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n");
  EXPECT_EQ(waits_seconds(harness), defaults.waiting_seconds + defaults.connect_timeout_seconds);
  harness.grant();
  EXPECT_EQ(waits_seconds(harness), upstream_seconds);
  harness.upstream("250 ok\r\n250 ok\r\n");
  EXPECT_EQ(waits_seconds(harness), config::ListenerLimits().command_timeout_seconds);
  harness.client("DATA\r\n");
  EXPECT_EQ(waits_seconds(harness),
            std::min<std::int64_t>(config::ListenerLimits().data_timeout_seconds, 60));
}

// Whatever else the client says meanwhile.
TEST(Deadlines, ForRepliesThatAreOwed) {
  Harness harness(setup());
  harness.start();
  harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n");
  harness.client("RCPT TO:<syntax\r\n");
  EXPECT_EQ(waits_seconds(harness), upstream_seconds);
  harness.upstream("250 ok\r\n");
  harness.timeout();
  EXPECT_NE(harness.client_out.find("451 4.4.2"), std::string::npos);
  EXPECT_FALSE(harness.session().finished());
}

// RFC 5321 4.5.3.2 counts by command: MAIL and a hundred RCPTs sent together may take a hundred times as
// long.
TEST(Deadlines, EachPipelinedCommandHasItsOwn) {
  Harness harness(setup());
  harness.start();
  harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n");
  harness.client("RCPT TO:<d@example.com>\r\nRCPT TO:<e@example.com>\r\nDATA\r\n");
  for (const std::string reply : {"250 mail\r\n", "250 2.1.5 c\r\n", "550 d\r\n", "250 2.1.5 e\r\n"}) {
    harness.pass(upstream_seconds - 1);
    EXPECT_EQ(harness.seconds_left(), 1) << reply;
    harness.upstream(reply);
    EXPECT_GE(harness.seconds_left(), upstream_seconds) << reply;
  }
  EXPECT_NE(harness.client_out.find("354 "), std::string::npos) << harness.client_out;
  EXPECT_EQ(harness.client_out.find("451 "), std::string::npos) << harness.client_out;
}

TEST(Deadlines, ForAnEnvelopeThatIsRepeated) {
  Harness harness(setup());
  harness.start();
  harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n");
  harness.upstream("250 ok\r\n250 2.1.5 c\r\n");
  harness.yield();
  EXPECT_EQ(harness.seconds_left(), config::ListenerLimits().command_timeout_seconds);
  harness.client("DATA\r\n");
  EXPECT_EQ(harness.seconds_left(), upstream_seconds);
  harness.pass(upstream_seconds - 1);
  harness.upstream("250 reset\r\n");
  harness.timeout();
  EXPECT_NE(harness.client_out.find("451 4.4.2"), std::string::npos) << harness.client_out;
  EXPECT_FALSE(harness.session().finished());
}

TEST(Deadlines, ContentThatWaitsForThe354WaitsForTheUpstream) {
  for (const std::string content :
       {"From: a@elsewhere.test\r\n\r\nthere is more\r\n", "From: a@elsewhere.test\r\n\r\nall\r\n.\r\n"}) {
    Harness harness(setup());
    harness.start();
    harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n");
    harness.upstream("250 ok\r\n250 ok\r\n");
    harness.client("DATA\r\n");
    harness.client(content);
    EXPECT_EQ(waits_seconds(harness), upstream_seconds) << content;
    harness.timeout();
    EXPECT_EQ(harness.aborted, 1U);
  }
}

TEST(Deadlines, TheAnswerToAWholeMessageHasItsOwn) {
  Harness harness(setup());
  harness.start();
  harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n");
  harness.upstream("250 ok\r\n250 ok\r\n");
  harness.client("DATA\r\n");
  harness.client("From: a@elsewhere.test\r\n\r\nall\r\n.\r\n");
  harness.upstream("354 go\r\n");
  EXPECT_EQ(waits_seconds(harness), defaults.end_of_data_timeout_seconds);
}

// Nobody waits for the answer to DATA that the client did not say: should the upstream never give it, or be
// lost before, the client has the time that it always has, and no more.
TEST(Deadlines, TheClientsOwnAfterDataThatItDidNotSay) {
  for (const bool lost : {false, true}) {
    Harness harness(setup());
    harness.start();
    harness.client("HELO client.test\r\n");
    for (int i = 0; i < 3; ++i) {
      harness.client("MAIL FROM:<a@elsewhere.test>\r\n");
      harness.client("RCPT TO:<c@example.com>\r\n");
      if (i == 2) break;
      harness.upstream("250 ok\r\n250 ok\r\n");
      harness.client("DATA\r\n");
      harness.client("From: a@elsewhere.test\r\n\r\nall\r\n.\r\n");
      harness.upstream("354 go\r\n");
      harness.upstream("250 ok\r\n");
    }
    harness.upstream("250 ok\r\n550 no such user\r\n");
    EXPECT_EQ(waits_seconds(harness), upstream_seconds);
    harness.client("NOOP\r\n");
    EXPECT_EQ(waits_seconds(harness), upstream_seconds) << "DATA would have to wait for it";
    lost ? harness.upstream_lost(LinkFailure::closed) : harness.timeout();
    EXPECT_FALSE(harness.upstream_open());
    EXPECT_FALSE(harness.session().finished());
    harness.timeout();
    EXPECT_TRUE(harness.session().finished());
  }
}

// "AUTH PLAIN" with login and password "a".
const std::string auth_command = "AUTH PLAIN AGEAYQ==\r\n";

Setup with_auth() {
  Setup setup;
  setup.auth = config::AuthMode::optional;
  setup.auth_without_tls = true;
  return setup;
}

TEST(Deadlines, AnAnswerToAnEarlierLoginIsNobodys) {
  for (const auth::Result late : {auth::Result::success, auth::Result::bad_credentials}) {
    Harness harness(with_auth());
    harness.start();
    harness.client("EHLO client.test\r\n");
    harness.client(auth_command);
    const std::uint32_t first = harness.last_attempt;
    harness.timeout();
    harness.client(auth_command);
    harness.client_out.clear();
    harness.auth_done(first, late, "a@example.com");
    EXPECT_EQ(harness.client_out, "") << "the second login is answered when its answer comes";
    EXPECT_FALSE(harness.session().authenticated());
    harness.auth_done(auth::Result::success, "b@example.com");
    EXPECT_TRUE(harness.client_out.starts_with("235 ")) << harness.client_out;
  }
}

TEST(Deadlines, NoneEndsTheDelayOfAnAnswerThatIsThere) {
  Harness harness(with_auth());
  harness.start();
  harness.client("EHLO client.test\r\n");
  harness.client(auth_command);
  harness.auth_done(harness.last_attempt, auth::Result::success, "a@example.com", 60'000);
  EXPECT_GT(waits_seconds(harness), 60);
  harness.client_out.clear();
  harness.wake();
  EXPECT_TRUE(harness.client_out.starts_with("235 ")) << harness.client_out;
}

// What the upstream took for its 354, or to take what it was sent, is not time in which the client brought
// too little.
TEST(Deadlines, TheClientNeedNotMakeUpForTheUpstream) {
  for (const bool stalled : {false, true}) {
    Harness harness(setup(600));
    harness.start();
    harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n");
    harness.upstream("250 ok\r\n250 ok\r\n");
    harness.client("DATA\r\n");
    harness.client("From: a@elsewhere.test\r\n\r\nthere is more\r\n");
    if (!stalled) harness.pass(150);
    harness.upstream("354 go\r\n");
    if (stalled) {
      harness.upstream_full(true);
      harness.pass(150);
      harness.upstream_full(false);
    }
    EXPECT_GE(harness.seconds_left(), 59) << stalled;
    harness.client("more\r\n");
    EXPECT_GE(harness.seconds_left(), 59) << stalled;
    // And it still must bring what it has to bring.
    harness.pass(50);
    harness.client("more\r\n");
    EXPECT_LE(harness.seconds_left(), 10) << stalled;
  }
}

// A client that may not send its next chunk, as the upstream does not take the one before, is not to blame.
TEST(Deadlines, BetweenChunksThatTheUpstreamDoesNotTake) {
  Harness harness(setup());
  harness.start();
  harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n");
  harness.upstream("250 ok\r\n250 ok\r\n");
  harness.client("BDAT 33\r\nFrom: a@elsewhere.test\r\n\r\nhello\r\n");
  harness.upstream("354 go\r\n");
  harness.upstream_full(true);
  EXPECT_EQ(harness.seconds_left(), defaults.data_timeout_seconds);
  harness.timeout();
  EXPECT_FALSE(harness.session().finished());
  EXPECT_EQ(harness.aborted, 1U);
  harness.client_out.clear();
  harness.client("BDAT 3 LAST\r\nx\r\n");
  EXPECT_EQ(harness.client_out.substr(0, 9), "451 4.4.2");
}

TEST(Deadlines, BetweenChunksTheClientsAgain) {
  Harness harness(setup());
  harness.start();
  harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n");
  harness.upstream("250 ok\r\n250 ok\r\n");
  harness.client("BDAT 33\r\nFrom: a@elsewhere.test\r\n\r\nhello\r\n");
  harness.upstream("354 go\r\n");
  harness.upstream_full(true);
  harness.upstream_full(false);
  EXPECT_EQ(harness.seconds_left(), config::ListenerLimits().command_timeout_seconds);
}

// Whatever the upstream answers between two chunks: the next one is a command, and has a command's time.
TEST(Deadlines, BetweenChunksThatTheUpstreamAnswers) {
  for (const std::string answer : {"354 go\r\n", "451 later\r\n", "421 bye\r\n"}) {
    Harness harness(setup());
    harness.start();
    harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n");
    harness.upstream("250 ok\r\n250 ok\r\n");
    harness.client("BDAT 33\r\nFrom: a@elsewhere.test\r\n\r\nhello\r\n");
    harness.upstream(answer);
    EXPECT_EQ(harness.seconds_left(), config::ListenerLimits().command_timeout_seconds) << answer;
  }
}

// A chunk that belongs to nothing is read to its end as long as it comes, and then the next command has its
// time.
TEST(Deadlines, OfAChunkThatIsNotWanted) {
  Harness harness(setup());
  harness.start();
  constexpr std::size_t piece = 20'000;
  harness.client("EHLO client.test\r\nBDAT " + std::to_string(5 * piece) + "\r\n" + std::string(piece, 'x'));
  for (int i = 1; i < 5; ++i) {
    harness.pass(170);
    EXPECT_GE(harness.seconds_left(), 10) << i;
    harness.client(std::string(piece, 'x'));
  }
  EXPECT_NE(harness.client_out.find("503 5.5.1"), std::string::npos);
  EXPECT_EQ(harness.seconds_left(), config::ListenerLimits().command_timeout_seconds);
  // It must not dribble either.
  harness.client("BDAT 400\r\nx");
  harness.pass(50);
  harness.client("x");
  EXPECT_LE(harness.seconds_left(), 10);
}

TEST(Deadlines, NoMinimumRateWhereNoneIsConfigured) {
  auto patient = setup();
  patient.minimum_bytes_per_second = 0;
  Harness harness(patient);
  harness.start();
  harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<c@example.com>\r\n");
  harness.upstream("250 ok\r\n250 ok\r\n");
  harness.client("DATA\r\n");
  EXPECT_EQ(harness.seconds_left(), config::ListenerLimits().data_timeout_seconds);
  for (int i = 0; i < 10; ++i) {
    harness.pass(170);
    harness.client("x");
    EXPECT_EQ(harness.seconds_left(), config::ListenerLimits().data_timeout_seconds) << i;
  }
}

}  // namespace
}  // namespace portcullis::session::testing
