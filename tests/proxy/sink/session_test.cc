#include "proxy/sink/session.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/proxy/sink/scratch.h"
#include "tests/smtp/segments.h"

namespace portcullis::sink {
namespace {

using std::string_literals::operator""s;
using Messages = std::vector<std::string>;

smtp::Extensions offered() {
  return {.esmtp = true,
          .pipelining = true,
          .eight_bit_mime = true,
          .smtputf8 = true,
          .chunking = true,
          .dsn = true,
          .enhanced_status_codes = true,
          .size = 1000,
          .xforward = smtp::x_name | smtp::x_addr,
          .xclient = smtp::x_addr | smtp::x_login};
}

struct Seen {
  std::string replies;
  Messages stored;
  Messages left_over;  // in tmp/
  bool closing = false;
};

Seen converse(std::string_view bytes, const test::Cuts& cuts, bool trusted) {
  const test::Scratch scratch;
  const auto maildir = Maildir::open(scratch.path(), false);
  EXPECT_TRUE(maildir.has_value());
  Service service{.hostname = "mx", .offered = offered(), .maildir = &*maildir, .next_id = 0xAB};
  Seen seen;
  {
    Session session(service);
    if (trusted) session.trust();
    std::size_t at = 0;
    for (const std::size_t cut : cuts) {
      const test::ExactBuffer piece(bytes.substr(at, cut));
      session.feed(piece.view(), seen.replies);
      at += cut;
    }
    seen.closing = session.closing();
  }
  seen.stored = scratch.files("new");
  seen.left_over = scratch.files("tmp");
  EXPECT_EQ(service.messages, seen.stored.size());
  return seen;
}

struct Case {
  const char* name;
  std::string bytes;
  std::string replies;
  Messages stored = {};  // NOLINT(readability-redundant-member-init): GCC warns without
  bool closing = false;
  bool trusted = true;
};

const std::string hello = "EHLO c\r\n";
const std::string greeting =
    "250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-DSN\r\n"
    "250-ENHANCEDSTATUSCODES\r\n250-SIZE 1000\r\n250-XFORWARD NAME ADDR\r\n250 XCLIENT ADDR LOGIN\r\n";
const std::string envelope = hello + "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\n";
const std::string accepted = greeting + "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n";
const std::string go = "354 End data with <CR><LF>.<CR><LF>\r\n";
const std::string queued = "250 2.0.0 Ok: queued as AB\r\n";
const std::string trace = "Return-Path: <a@x>\r\nX-Envelope-Helo: c\r\nX-Envelope-To: <b@y>\r\n";

const Case cases[] = {
    {"a message",
     envelope + "DATA\r\nSubject: s\r\n\r\n..dot\r\n.\r\nQUIT\r\n",
     accepted + go + queued + "221 2.0.0 Bye\r\n",
     {trace + "Subject: s\r\n\r\n.dot\r\n"},
     true},
    {"all of the envelope is shown",
     hello + "MAIL FROM:<> SIZE=3 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=e\r\nRCPT TO:<\xc3\xa9@y> "
             "NOTIFY=NEVER\r\n"
             "RCPT TO:<c@y> ORCPT=rfc822;d@z\r\nDATA\r\n.\r\n",
     greeting + "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n" + go + queued,
     {"Return-Path: <>\r\nX-Envelope-Helo: c\r\nX-Mail-Parameters: SIZE=3 BODY=8BITMIME SMTPUTF8 RET=HDRS "
      "ENVID=e\r\n"
      "X-Envelope-To: <\xc3\xa9@y>\r\nX-Rcpt-Parameters: <\xc3\xa9@y> NOTIFY=NEVER\r\n"
      "X-Envelope-To: <c@y>\r\nX-Rcpt-Parameters: <c@y> ORCPT=rfc822;d@z\r\n"}},
    {"two messages",
     envelope + "DATA\r\n1\r\n.\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n2\r\n.\r\n",
     accepted + go + queued + "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n" + go + "250 2.0.0 Ok: queued as AC\r\n",
     {trace + "1\r\n", trace + "2\r\n"}},
    {"BDAT",
     envelope + "BDAT 4\r\nA: bBDAT 4\r\n\r\n\r\nBDAT 3 LAST\r\n.\r\nNOOP\r\n",
     accepted + "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n" + queued + "250 2.0.0 Ok\r\n",
     {trace + "A: b\r\n\r\n.\r\n"}},
    {"BDAT LAST of nothing",
     envelope + "BDAT 3\r\na\r\nBDAT 0 LAST\r\n",
     accepted + "250 2.0.0 Ok\r\n" + queued,
     {trace + "a\r\n"}},
    {"BDAT given up", envelope + "BDAT 3\r\na\r\nRSET\r\nNOOP\r\n",
     accepted + "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"},
    {"BDAT is not mixed with DATA", envelope + "BDAT 3\r\na\r\nDATA\r\nRCPT TO:<c@y>\r\n",
     accepted + "250 2.0.0 Ok\r\n503 5.5.1 The message comes by BDAT\r\n503 5.5.1 The message has begun\r\n"},
    {"BDAT without recipients is read", hello + "BDAT 6\r\nQUIT\r\nNOOP\r\n",
     greeting + "503 5.5.1 No recipients\r\n250 2.0.0 Ok\r\n"},
    {"BDAT without a size",
     envelope + "BDAT x\r\nQUIT\r\n",
     accepted + "501 5.5.4 Bad chunk size\r\n",
     {},
     true},
    {"order",
     "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nHELO c\r\nMAIL FROM:<a@x>\r\nMAIL FROM:<a@x>\r\nDATA\r\n",
     "503 5.5.1 Say EHLO first\r\n503 5.5.1 Say MAIL first\r\n503 5.5.1 No recipients\r\n250 mx\r\n250 2.1.0 "
     "Ok\r\n"
     "503 5.5.1 Nested MAIL\r\n503 5.5.1 No recipients\r\n"},
    {"bad arguments",
     hello + "EHLO\r\nMAIL FROM:a\r\nMAIL FROM:<a@x> X=1\r\nMAIL FROM:<\xc3\xa9@x>\r\nMAIL FROM:<a@x> "
             "SIZE=1001\r\n",
     greeting +
         "501 5.5.4 Bad host name\r\n501 5.1.7 Bad path syntax\r\n555 5.5.4 Parameter not recognised: X\r\n"
         "553 5.6.7 SMTPUTF8 needed\r\n552 5.3.4 Message too big\r\n"},
    {"bad recipients",
     hello + "MAIL FROM:<a@x>\r\nRCPT TO:<>\r\nRCPT TO:<b@y> SIZE=1\r\nRCPT TO:<\xc3\xa9@y>\r\n",
     greeting + "250 2.1.0 Ok\r\n501 5.1.7 Bad path syntax\r\n555 5.5.4 Parameter not recognised: "
                "SIZE\r\n553 5.6.7 SMTPUTF8 needed\r\n"},
    {"small verbs", "RSET\r\nNOOP x\r\nVRFY x\r\nEXPN x\r\nHELP\r\nSTARTTLS\r\nAUTH PLAIN\r\nFOO\r\n",
     "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n252 2.0.0 Send some mail, I shall take it\r\n502 5.5.1 Not "
     "implemented\r\n"
     "214 2.0.0 See RFC 5321\r\n502 5.5.1 Not implemented\r\n502 5.5.1 Not implemented\r\n500 5.5.2 Command "
     "not recognised\r\n"},
    {"too big", envelope + "DATA\r\n" + std::string(1001, 'x') + "\r\n.\r\nNOOP\r\n",
     accepted + go + "552 5.3.4 Message too big\r\n250 2.0.0 Ok\r\n"},
    {"bare LF in a message", envelope + "DATA\r\na\n.\nQUIT\r\n.\r\nNOOP\r\n",
     accepted + go + "550 5.6.0 Bare CR, bare LF or NUL in the message\r\n250 2.0.0 Ok\r\n"},
    {"bare LF in a chunk", envelope + "BDAT 2 LAST\r\na\nNOOP\r\n",
     accepted + "550 5.6.0 Bare CR, bare LF or NUL in the message\r\n250 2.0.0 Ok\r\n"},
    {"bare LF in a command", "NOOP\nQUIT\r\n", "500 5.5.2 Lines end with CR LF\r\n", {}, true},
    {"NUL in a command", "NOOP\0QUIT\r\n"s, "500 5.5.2 Lines end with CR LF\r\n", {}, true},
    {"long command",
     "NOOP " + std::string(3000, 'x') + "\r\nNOOP\r\n",
     "500 5.5.2 Line too long\r\n",
     {},
     true},
    {"a browser", "GET / HTTP/1.1\r\nNOOP\r\n", "500 5.5.2 This is a mail server\r\n", {}, true},
    {"the client goes away", envelope + "DATA\r\nhalf", accepted + go},
    {"XFORWARD lasts one transaction",
     hello + "XFORWARD NAME=n\r\nXFORWARD ADDR=192.0.2.1\r\nMAIL FROM:<a@x>\r\nXFORWARD NAME=n\r\nRCPT "
             "TO:<b@y>\r\nDATA\r\n.\r\n"
             "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n.\r\n",
     greeting +
         "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n503 5.5.1 Mail transaction in progress\r\n250 "
         "2.1.5 Ok\r\n" +
         go + queued + "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n" + go + "250 2.0.0 Ok: queued as AC\r\n",
     {"Return-Path: <a@x>\r\nX-Envelope-Helo: c\r\nX-XForward: NAME=n ADDR=192.0.2.1\r\nX-Envelope-To: "
      "<b@y>\r\n",
      trace}},
    {"XCLIENT starts over",
     hello + "XCLIENT ADDR=192.0.2.1 LOGIN=l+2Bm\r\nMAIL FROM:<a@x>\r\n" + envelope + "DATA\r\n.\r\n",
     greeting + "220 mx ESMTP Portcullis sink\r\n503 5.5.1 Say EHLO first\r\n" + accepted + go + queued,
     {"Return-Path: <a@x>\r\nX-Envelope-Helo: c\r\nX-XClient: ADDR=192.0.2.1 LOGIN=l+2Bm\r\nX-Envelope-To: "
      "<b@y>\r\n"}},
    {"bad attributes",
     "XFORWARD\r\nXFORWARD NAME\r\nXFORWARD LOGIN=a\r\nXFORWARD NAME=+0\r\nXCLIENT NAME=a\r\n",
     "501 5.5.4 Bad XFORWARD attributes\r\n501 5.5.4 Bad XFORWARD attributes\r\n501 5.5.4 Bad XFORWARD "
     "attributes\r\n"
     "501 5.5.4 Bad XFORWARD attributes\r\n501 5.5.4 Bad XCLIENT attributes\r\n"},
    {"strangers may not say who they are for",
     "XFORWARD NAME=n\r\nXCLIENT ADDR=192.0.2.1\r\n",
     "550 5.7.0 Not authorised\r\n550 5.7.0 Not authorised\r\n",
     {},
     false,
     false},
};

TEST(SinkSession, AnswersTheSameUnderEverySegmentation) {
  for (const Case& c : cases) {
    for (const auto& cuts : test::segmentations(c.bytes.size(), 4)) {
      const Seen seen = converse(c.bytes, cuts, c.trusted);
      EXPECT_EQ(seen.replies, c.replies) << c.name << " in " << cuts.size() << " pieces";
      EXPECT_EQ(seen.stored, c.stored) << c.name << " in " << cuts.size() << " pieces";
      EXPECT_EQ(seen.left_over, Messages{}) << c.name;
      EXPECT_EQ(seen.closing, c.closing) << c.name;
    }
  }
}

TEST(SinkSession, SaysSoWhenItCanNotStore) {
  const test::Scratch scratch;
  const auto maildir = Maildir::open(scratch.path(), true);
  ASSERT_TRUE(maildir.has_value());
  Service service{.hostname = "mx", .offered = offered(), .maildir = &*maildir};
  for (const char* lost : {"new", "tmp"}) {
    std::filesystem::remove_all(std::filesystem::path(scratch.path()) / lost);
    Session session(service);
    std::string replies;
    session.feed(envelope + "DATA\r\nx\r\n.\r\n", replies);
    EXPECT_TRUE(replies.ends_with("451 4.3.0 The message could not be stored\r\n")) << replies;
  }
  EXPECT_EQ(service.messages, 0U);
}

TEST(Maildir, OpensOnlyWhatItCanWriteTo) {
  const test::Scratch scratch;
  std::ofstream(scratch.path() + "/file") << "x";
  EXPECT_FALSE(Maildir::open(scratch.path() + "/file", false).has_value());
  EXPECT_TRUE(Maildir::open(scratch.path() + "/deep/er", false).has_value());
}

}  // namespace
}  // namespace portcullis::sink
