// portcullis explain: the chain's verdicts, told stage by stage.
#include "proxy/config/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/memory_counters.h"
#include "tests/proxy/config/site.h"

namespace portcullis::config {
namespace {

using testing::HasSubstr;

constexpr std::string_view text = R"toml(
hostname = "mx.example.com"
local_domains = ["example.com"]
[tls]
certificate = "cert.pem"
private_key = "key.pem"
[[listener]]
name = "mx"
address = "0.0.0.0:25"
auth = "optional"
[[listener]]
name = "submission"
address = "0.0.0.0:587"
[[upstream]]
name = "legacy"
servers = "10.0.0.5"
[auth]
backends = ["file"]
file = { path = "users" }
[[network]]
name = "office"
addresses = "10.0.0.0/8"
may_relay = true
[[grant]]
who = "group:sales"
send_as = "sales@example.com"
[[usage]]
name = "few"
mode = "shadow"
recipients_per_message = 1
[[usage]]
name = "small"
message_size = "1KiB"
attachments_per_message = 2
[[rate]]
name = "day"
limit = "3 recipients/day"
)toml";

class ExplainTest : public testing::Test {
 protected:
  ExplainTest() : loaded_(load(site_.add("portcullis.toml", text, 0640))) {
    question_.listener = "submission";
    question_.client = "192.0.2.7";
    question_.account = policy::Account{"alice@example.com", {}, {}, "file"};
    question_.reverse_path = "alice@example.com";
    question_.recipients = {"bob@example.net"};
  }
  std::string ask() {
    const auto report = explain(*loaded_.config, question_, counters_, lockout_, now_);
    return report ? *report : "no report: " + report.error();
  }

  Site site_;
  Loaded loaded_;
  Question question_;
  policy::MemoryCounters counters_{1000};
  policy::Lockout lockout_{{.distinct_passwords_per_login = 3, .block_seconds = 600}};
  policy::WallTime now_{std::chrono::seconds(1'700'000'000)};
};

TEST_F(ExplainTest, a_good_message_passes) {
  const std::string report = ask();
  EXPECT_THAT(report, HasSubstr("listener  submission, auth required"));
  EXPECT_THAT(report, HasSubstr("MAIL FROM:<alice@example.com>                accept"));
  EXPECT_THAT(
      report,
      HasSubstr(
          "RCPT TO:<bob@example.net>                    accept\n    rate day for alice@example.com: 1 of 3"));
  EXPECT_THAT(report, HasSubstr("header From: alice@example.com               accept"));
  EXPECT_THAT(report, HasSubstr("would be passed on, for 1 of 1 recipients"));
}

TEST_F(ExplainTest, a_blocked_login_is_told) {
  const auto attacker = *policy::parse_ip("203.0.113.66");
  for (std::uint64_t i = 0; i < 3; ++i) lockout_.failed(attacker, "alice@example.com", i, now_);
  EXPECT_THAT(ask(),
              HasSubstr("brute-force control blocks this login where it is not known, for another 600 s"));
  EXPECT_THAT(ask(), HasSubstr("refused by brute-force control: 454 4.7.0 at AUTH"));
  lockout_.succeeded(*policy::parse_ip("192.0.2.7"), "alice@example.com", now_);
  EXPECT_THAT(ask(), HasSubstr("would be passed on"));
}

TEST_F(ExplainTest, nothing_stays_charged) {
  const std::string first = ask();
  EXPECT_EQ(ask(), first);
}

TEST_F(ExplainTest, a_foreign_sender_is_refused_with_the_rule_and_the_rest_is_still_told) {
  question_.reverse_path = "boss@example.com";
  const std::string report = ask();
  EXPECT_THAT(report, HasSubstr("MAIL FROM:<boss@example.com>                 reject: 553 5.7.1"));
  EXPECT_THAT(report, HasSubstr("rule identity: reject (envelope)"));
  EXPECT_THAT(report, HasSubstr("RCPT TO:<bob@example.net>"));
  EXPECT_THAT(report, HasSubstr("refused by MAIL"));
}

TEST_F(ExplainTest, header_from_and_sender_are_judged) {
  question_.header_from = "\"The boss\" <boss@example.com>";
  EXPECT_THAT(ask(), HasSubstr("refused by the header"));
  question_.header_from = "alice@example.com";
  question_.sender = "boss@example.com";
  EXPECT_THAT(ask(), HasSubstr("rule identity: reject (sender)"));
  question_.sender = "alice@example.com, bob@example.com";
  EXPECT_THAT(ask(), HasSubstr("reject: 550 5.6.0 Sender: several mailboxes (rule author_count)"));
}

TEST_F(ExplainTest, groups_and_owned_addresses_count) {
  question_.reverse_path = "sales@example.com";
  EXPECT_THAT(ask(), HasSubstr("refused by MAIL"));
  question_.account->groups = {"sales"};
  EXPECT_THAT(ask(), HasSubstr("would be passed on"));
  question_.account->groups.clear();
  question_.account->addresses = {"sales@example.com"};
  EXPECT_THAT(ask(), HasSubstr("would be passed on"));
}

TEST_F(ExplainTest, shadow_rules_are_told_and_let_pass) {
  question_.recipients = {"bob@example.net", "carol@example.net"};
  const std::string report = ask();
  EXPECT_THAT(report, HasSubstr("rule few: defer, in shadow: lets pass"));
  EXPECT_THAT(report, HasSubstr("would be passed on, for 2 of 2 recipients"));
}

TEST_F(ExplainTest, rates_count_what_was_sent_before) {
  counters_.charge({"day", "alice@example.com", 2, 3, 86400}, now_, false).value();
  question_.recipients = {"bob@example.net", "carol@example.net"};
  const std::string report = ask();
  EXPECT_THAT(report, HasSubstr("rate day for alice@example.com: 3 of 3\n"));
  EXPECT_THAT(report, HasSubstr("would be exceeded"));
  EXPECT_THAT(report, HasSubstr("would be passed on, for 1 of 2 recipients"));
}

TEST_F(ExplainTest, size_and_attachments) {
  question_.octets = 2048;
  EXPECT_THAT(ask(), HasSubstr("reject: 552 5.3.4"));
  question_.octets = 100;
  question_.attachments = 3;
  const std::string report = ask();
  EXPECT_THAT(report, HasSubstr("message of 100 octets, 3 attachments"));
  EXPECT_THAT(report, HasSubstr("refused by the message"));
}

TEST_F(ExplainTest, without_a_login) {
  question_.account.reset();
  question_.reverse_path = "bob@example.net";
  question_.recipients = {"alice@example.com"};
  EXPECT_THAT(ask(), HasSubstr("refused by the listener: 530"));
  question_.listener = "mx";
  EXPECT_THAT(ask(), HasSubstr("would be passed on"));
  question_.recipients = {"carol@example.org"};
  EXPECT_THAT(ask(), HasSubstr("(rule relay)"));
  question_.client = "10.1.2.3";
  EXPECT_THAT(ask(), HasSubstr("network office, granted: may_relay"));
  EXPECT_THAT(ask(), HasSubstr("would be passed on"));
  question_.reverse_path = "alice@example.com";
  EXPECT_THAT(ask(), HasSubstr("(rule local-sender)"));
}

TEST_F(ExplainTest, null_reverse_path) {
  question_.account.reset();
  question_.listener = "mx";
  question_.reverse_path = "";
  question_.recipients = {"alice@example.com"};
  EXPECT_THAT(ask(), HasSubstr("a message needs a From"));
  question_.header_from = "MAILER-DAEMON@example.net";
  EXPECT_THAT(ask(), HasSubstr("MAIL FROM:<>"));
  question_.header_from = "MAILER-DAEMON <>";
  EXPECT_THAT(ask(), HasSubstr("would be passed on"));
  question_.header_from = "root";
  EXPECT_THAT(ask(), HasSubstr("(rule author_syntax)"));
}

TEST_F(ExplainTest, without_a_message_the_login_is_told) {
  question_.message = false;
  EXPECT_THAT(ask(), HasSubstr("may send MAIL"));
  EXPECT_THAT(ask(), testing::Not(HasSubstr("MAIL FROM")));
  const auto attacker = *policy::parse_ip("203.0.113.66");
  for (std::uint64_t i = 0; i < 3; ++i) lockout_.failed(attacker, "alice@example.com", i, now_);
  EXPECT_THAT(ask(), HasSubstr("refused by brute-force control: 454 4.7.0 at AUTH"));
}

TEST_F(ExplainTest, a_login_that_no_backend_accepts_is_refused) {
  question_.login_refusal = "535 5.7.8 at AUTH: users has no account alice@example.com";
  EXPECT_THAT(ask(), HasSubstr("refused by the listener: 535 5.7.8 at AUTH: users has no account"));
}

TEST_F(ExplainTest, a_login_needs_a_listener_that_takes_it) {
  std::string changed(text);
  changed.replace(changed.find("auth = \"optional\""), 17, "auth = \"off\"");
  changed.replace(changed.find("name = \"submission\""), 19, "name = \"submission\"\ntls = \"off\"");
  changed.replace(changed.find("may_relay = true"), 16, "may_relay = true\nmay_auth_without_tls = true");
  loaded_ = load(site_.add("portcullis.toml", changed, 0640));
  ASSERT_NE(loaded_.config, nullptr) << loaded_.problems.front().text;
  question_.listener = "mx";
  EXPECT_THAT(ask(), HasSubstr("refused by the listener: 503 5.5.1 at AUTH"));
  question_.listener = "submission";
  EXPECT_THAT(ask(), HasSubstr("refused by the listener: 523 5.7.10 at AUTH"));
}

TEST_F(ExplainTest, limits_of_the_listener) {
  std::string changed(text);
  changed.replace(changed.find("name = \"submission\""), 19,
                  "name = \"submission\"\nlimits = { message_size = \"2KiB\", recipients = 1 }");
  changed.replace(changed.find("message_size = \"1KiB\""), 21, "message_size = \"4KiB\"");
  loaded_ = load(site_.add("portcullis.toml", changed, 0640));
  ASSERT_NE(loaded_.config, nullptr) << loaded_.problems.front().text;
  question_.octets = 2049;
  EXPECT_THAT(ask(),
              HasSubstr("552 5.3.4 Message is larger than this server accepts (message_size of listener "
                        "submission is 2048)"));
  EXPECT_THAT(ask(), HasSubstr("refused by MAIL"));
  question_.octets = 2048;
  EXPECT_THAT(ask(), HasSubstr("would be passed on"));
  question_.recipients = {"bob@example.net", "carol@example.net"};
  EXPECT_THAT(ask(), HasSubstr("reject: 452 4.5.3"));
  EXPECT_THAT(ask(), HasSubstr("would be passed on, for 1 of 2 recipients"));
}

TEST_F(ExplainTest, questions_that_make_no_sense) {
  question_.listener = "nowhere";
  EXPECT_EQ(ask(), "no report: there is no listener \"nowhere\"");
  question_.listener = "";
  question_.client = "office";
  EXPECT_EQ(ask(), "no report: \"office\" is not an IP address");
  question_.client = "::1";
  question_.reverse_path = "alice@example.com> SIZE=5 <";
  EXPECT_THAT(ask(), HasSubstr("is not an address"));
  question_.reverse_path = "alice@example.com";
  question_.recipients = {"bob"};
  EXPECT_THAT(ask(), HasSubstr("\"bob\" is not an address"));
}

}  // namespace
}  // namespace portcullis::config
