// What changes while a session is open: the next transaction goes by it (law 9).
#include <gtest/gtest.h>

#include "tests/proxy/session/harness.h"

namespace portcullis::session::testing {
namespace {

constexpr std::string_view mail = "MAIL FROM:<alice@example.com>\r\n";
constexpr std::string_view rcpt = "RCPT TO:<c@example.com>\r\n";

class Changes : public ::testing::Test {
 protected:
  Changes() { h_.start(); }
  void log_in() {
    say("EHLO client.test\r\n");
    say("AUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAHg=\r\n");
    h_.client_out.clear();
    h_.auth_done(auth::Result::success, "alice@example.com");
    EXPECT_TRUE(h_.client_out.starts_with("235 ")) << h_.client_out;
  }
  // The first word of the reply to a command.
  std::string say(std::string_view command) {
    h_.client_out.clear();
    h_.client(command);
    return h_.client_out.substr(0, 3);
  }
  void network(bool relays) {
    h_.reload([&](config::Config& config) {
      policy::Network network;
      network.name = "inside";
      network.addresses = {*policy::parse_network("192.0.2.0/24")};
      network.may_relay = relays;
      network.may_auth_without_tls = true;
      config.policy.networks = {network};
    });
  }

  Harness h_{[] {
    struct Setup setup;
    setup.auth = config::AuthMode::optional;
    setup.auth_without_tls = true;
    return setup;
  }()};
};

TEST_F(Changes, RulesAreExchangedAtTheNextTransaction) {
  network(true);
  say("EHLO client.test\r\n");
  EXPECT_EQ(say("MAIL FROM:<a@elsewhere.test>\r\n"), "250");
  network(false);
  EXPECT_EQ(say("RCPT TO:<c@elsewhere.test>\r\n"), "") << "this transaction goes on as it began";
  h_.upstream("250 ok\r\n250 ok\r\n");
  say("RSET\r\n");
  EXPECT_EQ(say("MAIL FROM:<a@elsewhere.test>\r\n"), "250");
  EXPECT_EQ(say("RCPT TO:<c@elsewhere.test>\r\n"), "550");
  EXPECT_FALSE(h_.session().finished());
}

TEST_F(Changes, ALoweredLimitCountsAtOnce) {
  const auto at_most = [&](std::uint64_t recipients) {
    h_.reload([&](config::Config& config) {
      config.policy.usage = {{.name = "few", .recipients_per_message = recipients}};
    });
  };
  at_most(10);
  say("EHLO client.test\r\n");
  say("MAIL FROM:<a@elsewhere.test>\r\n");
  say("RSET\r\n");
  at_most(0);
  say("MAIL FROM:<a@elsewhere.test>\r\n");
  EXPECT_EQ(say(rcpt), "452");
}

TEST_F(Changes, AnotherListenerIsAnotherConnection) {
  const std::function<void(config::Config&)> changes[] = {
      [](config::Config& c) { c.listeners[0].limits.recipients = 1; },
      [](config::Config& c) { c.listeners[0].auth = config::AuthMode::required; },
      [](config::Config& c) { c.listeners.clear(); },
  };
  for (const auto& change : changes) {
    const struct Setup usual;
    Harness h(usual);
    h.start();
    h.client("HELO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\n");
    h.reload(change);
    h.client_out.clear();
    h.client("RSET\r\n");
    EXPECT_TRUE(h.client_out.starts_with("250 "));
    h.client("MAIL FROM:<a@elsewhere.test>\r\n");
    EXPECT_NE(h.client_out.find("421 4.3.2 Configuration has changed"), std::string::npos) << h.client_out;
    EXPECT_TRUE(h.session().finished());
  }
}

TEST_F(Changes, AnotherUpstreamIsForNewSessions) {
  say("EHLO client.test\r\n");
  h_.reload([](config::Config& config) { config.upstreams[0].servers[0].port = 26; });
  EXPECT_EQ(say("MAIL FROM:<a@elsewhere.test>\r\n"), "250");
}

TEST_F(Changes, ARightThatTheLoginNeeded) {
  log_in();
  EXPECT_EQ(say(mail), "250");
  say("RSET\r\n");
  h_.reload([](config::Config& config) { config.policy.networks.clear(); });  // AUTH in the clear
  EXPECT_EQ(say(mail), "421");
  EXPECT_TRUE(h_.session().finished());
}

TEST_F(Changes, AnotherAccountIsNoBusinessOfOurs) {
  log_in();
  h_.account_becomes(Accounts::State::unchanged);
  EXPECT_EQ(say(mail), "250");
}

TEST_F(Changes, AddressesAreThoseOfToday) {
  log_in();
  EXPECT_EQ(say("MAIL FROM:<sales@example.com>\r\n"), "553");
  h_.account_becomes(Accounts::State::changed, {"sales@example.com"});
  EXPECT_EQ(say("MAIL FROM:<sales@example.com>\r\n"), "250");
  h_.account_becomes(Accounts::State::changed, {});
  say("RSET\r\n");
  EXPECT_EQ(say("MAIL FROM:<sales@example.com>\r\n"), "553");
}

// At whatever command it is: the message is not completed.
TEST_F(Changes, AnAccountThatIsGoneEndsTheSession) {
  for (const int commands : {0, 1, 2, 3, 4}) {
    Harness h([] {
      struct Setup setup;
      setup.auth = config::AuthMode::optional;
      setup.auth_without_tls = true;
      return setup;
    }());
    h.start();
    h.client("EHLO client.test\r\nAUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAHg=\r\n");
    h.auth_done(auth::Result::success, "alice@example.com");
    const std::string_view steps[] = {mail, rcpt, "DATA\r\n", "From: alice@example.com\r\n\r\nx\r\n.\r\n"};
    for (int i = 0; i < 4; ++i) {
      if (i == commands) h.account_becomes(Accounts::State::gone);
      h.client_out.clear();
      h.client(steps[i]);
      if (i == 1) h.upstream("250 ok\r\n250 ok\r\n");
      if (i == 3) h.upstream("354 go\r\n");
      EXPECT_EQ(h.session().finished(), i >= commands) << commands << i;
      if (i == commands) {
        EXPECT_NE(h.client_out.find("421 4.7.0 Account has changed"), std::string::npos) << h.client_out;
      }
    }
    const bool completed = !h.wires.empty() && h.wires[0].find("\r\n.\r\n") != std::string::npos;
    EXPECT_EQ(completed, commands == 4);
  }
}

// Where the backend can only be asked with the password.
TEST_F(Changes, ALoginCountsForItsTime) {
  log_in();
  h_.login_counts(300);
  h_.pass(299);
  EXPECT_EQ(say(mail), "250");
  h_.pass(2);
  EXPECT_EQ(say(rcpt), "") << "not inside a transaction";
  h_.upstream("250 ok\r\n250 ok\r\n");
  EXPECT_EQ(say("RSET\r\n"), "250");
  EXPECT_EQ(say(mail), "421");
  EXPECT_NE(h_.client_out.find("4.7.0 Login is too old"), std::string::npos) << h_.client_out;
}

}  // namespace
}  // namespace portcullis::session::testing
