#include "proxy/auth/imap_reply.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "proxy/auth/imap_login.h"

namespace portcullis::auth {
namespace {

using Kind = ImapReply::Kind;
using Status = ImapReply::Status;

// Everything that came out, as one text.
std::string describe(const ImapReply& reply) {
  static const char* const kinds[] = {"untagged", "tagged", "continuation"};
  static const char* const statuses[] = {"none", "ok", "no", "bad", "bye", "preauth"};
  return std::string(kinds[static_cast<int>(reply.kind)]) + '|' + statuses[static_cast<int>(reply.status)] +
         '|' + reply.tag + '|' + reply.code + '|' + reply.arguments + '|' + reply.text + '\n';
}

// Feeds `stream` cut at `cuts`, each part from a heap block of exactly its size.
std::string parse(std::string_view stream, const std::vector<std::size_t>& cuts) {
  ImapParser parser;
  std::string out;
  std::size_t from = 0;
  const auto feed = [&](std::size_t to) {
    const auto part = std::make_unique<char[]>(to - from);
    std::memcpy(part.get(), stream.data() + from, to - from);
    parser.append({part.get(), to - from});
    from = to;
    ImapReply reply;
    for (;;) {
      const auto status = parser.next(reply);
      if (status == ImapParser::Status::need_more) return;
      if (status == ImapParser::Status::malformed) {
        if (!out.ends_with("malformed\n")) out += "malformed\n";
        return;
      }
      out += describe(reply);
    }
  };
  for (const std::size_t cut : cuts) feed(cut);
  feed(stream.size());
  return out;
}

void expect_however_cut(std::string_view stream, const std::string& expected) {
  EXPECT_EQ(parse(stream, {}), expected);
  std::vector<std::size_t> every;
  for (std::size_t i = 1; i < stream.size(); ++i) every.push_back(i);
  EXPECT_EQ(parse(stream, every), expected) << "byte by byte";
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::size_t> cuts;
    for (std::size_t i = 1; i < stream.size(); ++i) {
      if (random() % 5 == 0) cuts.push_back(i);
    }
    ASSERT_EQ(parse(stream, cuts), expected) << "random cuts";
  }
}

TEST(ImapParser, ReadsReplies) {
  expect_however_cut("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n",
                     "untagged|ok||CAPABILITY|IMAP4rev1 AUTH=PLAIN|ready\n");
  expect_however_cut("* CAPABILITY IMAP4rev1 STARTTLS\r\np1 OK done\r\n",
                     "untagged|none||||CAPABILITY IMAP4rev1 STARTTLS\ntagged|ok|p1|||done\n");
  expect_however_cut("p2 NO [authenticationfailed] Authentication failed.\r\n",
                     "tagged|no|p2|AUTHENTICATIONFAILED||Authentication failed.\n");
  expect_however_cut("+ \r\n+\r\n+ eyJzdGF0dXMi\r\n",
                     "continuation|none||||\ncontinuation|none||||\ncontinuation|none||||eyJzdGF0dXMi\n");
  expect_however_cut("* BYE overloaded\r\n* PREAUTH hello\r\np1 BAD what\r\np1 OK\r\np1 no [X] \r\n",
                     "untagged|bye||||overloaded\nuntagged|preauth||||hello\ntagged|bad|p1|||what\n"
                     "tagged|ok|p1|||\ntagged|no|p1|X||\n");
}

TEST(ImapParser, FramesLiteralsOfDataButNotOfFreeText) {
  expect_however_cut("* X {5}\r\na\r\nbc rest\r\np1 OK x\r\n",
                     "untagged|none||||X {5}  rest\ntagged|ok|p1|||x\n");
  expect_however_cut("* X {0}\r\n {3}\r\n\r\n\n\r\n* Y\r\n",
                     "untagged|none||||X {0}  {3} \nuntagged|none||||Y\n");
  expect_however_cut("* OK text {5}\r\np1 OK\r\n", "untagged|ok||||text {5}\ntagged|ok|p1|||\n");
  expect_however_cut("* X {}\r\n* Y {a}\r\n", "untagged|none||||X {}\nuntagged|none||||Y {a}\n");
}

TEST(ImapParser, RefusesWhatIsNoImap) {
  for (const std::string_view bad :
       {std::string_view("* OK a\nb\r\n"), std::string_view("* OK a\rb\r\n"),
        std::string_view("* OK a\0b\r\n", 10), std::string_view("\r\n"), std::string_view("* \r\n"),
        std::string_view("HTTP/1.1 200 OK\r\n"), std::string_view("p1 BYE x\r\n"),
        std::string_view("p1 PREAUTH x\r\n"), std::string_view("p1\r\n"),
        std::string_view("220 mx ESMTP\r\n"), std::string_view("* NO [UNAVAILABLE text\r\n"),
        std::string_view("p(1 OK\r\n"), std::string_view("* X {65537}\r\n"),
        std::string_view("* X {99999999999999999999999}\r\n")}) {
    expect_however_cut(bad, "malformed\n");
  }
}

TEST(ImapParser, IsBounded) {
  EXPECT_EQ(parse("* " + std::string(ImapParser::reply_octets_max, 'x') + "\r\n", {}), "malformed\n");
  EXPECT_EQ(parse("* " + std::string(ImapParser::reply_octets_max, 'x'), {}), "malformed\n")
      << "without an end";
  std::string literals = "* X";
  for (int i = 0; i < 10000; ++i) literals += " {1}\r\nx";
  EXPECT_EQ(parse(literals, {}), "malformed\n");
}

TEST(ImapCapabilities, AreReadInAnyCase) {
  const auto all = parse_capabilities(
      "CAPABILITY imap4rev1 StartTLS LOGINDISABLED SASL-IR auth=plain AUTH=XOAUTH2 "
      "AUTH=OAUTHBEARER");
  EXPECT_TRUE(all.starttls && all.login_disabled && all.sasl_ir && all.auth_plain && all.auth_xoauth2 &&
              all.auth_oauthbearer);
  const auto none = parse_capabilities("CAPABILITY XSTARTTLS AUTH=PLAINER  SASL-IRX");
  EXPECT_FALSE(none.starttls || none.login_disabled || none.sasl_ir || none.auth_plain);
}

TEST(ImapLoginJudge, TellsARefusalFromAnOutage) {
  const struct {
    Status status;
    const char* code;
    Result expected;
  } cases[] = {
      {Status::ok, "", Result::success},
      {Status::no, "", Result::bad_credentials},
      {Status::no, "AUTHENTICATIONFAILED", Result::bad_credentials},
      {Status::no, "AUTHORIZATIONFAILED", Result::bad_credentials},
      {Status::no, "ALERT", Result::bad_credentials},
      {Status::no, "EXPIRED", Result::password_expired},
      {Status::no, "UNAVAILABLE", Result::backend_error},
      {Status::no, "CONTACTADMIN", Result::backend_error},
      {Status::no, "SERVERBUG", Result::backend_error},
      {Status::no, "PRIVACYREQUIRED", Result::backend_error},
      {Status::no, "INUSE", Result::backend_error},
      {Status::no, "LIMIT", Result::backend_error},
      {Status::bad, "", Result::backend_error},
      {Status::bye, "", Result::backend_error},
  };
  for (const auto& c : cases) {
    ImapReply reply;
    reply.status = c.status;
    reply.code = c.code;
    reply.text = "text\x1b\xc3\xb6";
    const auto verdict = judge(reply);
    EXPECT_EQ(verdict.result, c.expected) << c.code;
    for (const char ch : verdict.detail) EXPECT_TRUE(ch >= ' ' && ch <= '~') << "a raw octet in the journal";
  }
}

}  // namespace
}  // namespace portcullis::auth
