#include "smtp/header.h"

#include <gtest/gtest.h>

#include <string>

#include "smtp/header_fields.h"
#include "smtp/limits.h"
#include "tests/smtp/segments.h"

namespace portcullis::smtp {
namespace {

using std::string_literals::operator""s;
using test::every_cut;
using test::ExactBuffer;
using test::segmentations;

// --- HeaderCollector ----------------------------------------------------------------------------------

TEST(HeaderCollector, FindsTheEmptyLineAtEveryCut) {
  const std::pair<std::string, std::size_t> cases[] = {
      {"From: a\r\n\r\nbody\r\n\r\n", 11},
      {"\r\nbody", 2},
      {"\r\n\r\n", 2},
      {"From: a\r\n", 9},
      {"From: a\r\n \r\nTo: b\r\n\r\nx", 21},
      {"A: b\r\n\r\r\n\r\n", 11},
      {"A: b\r", 5},
      {"", 0},
  };
  for (const auto& [content, header_octets] : cases) {
    auto ways = segmentations(content.size());
    for (auto& cuts : every_cut(content.size())) ways.push_back(cuts);
    for (const auto& cuts : ways) {
      HeaderCollector collector(1000);
      std::size_t at = 0, taken = 0;
      for (const std::size_t cut : cuts) {
        const ExactBuffer piece(std::string_view(content).substr(at, cut));
        taken += collector.feed(piece.view());
        at += cut;
      }
      EXPECT_EQ(taken, header_octets) << content;
      EXPECT_EQ(collector.block(), content.substr(0, header_octets));
      EXPECT_EQ(collector.complete(), collector.block().ends_with("\r\n\r\n") || collector.block() == "\r\n");
      EXPECT_FALSE(collector.too_large());
    }
  }
}

TEST(HeaderCollector, IsBounded) {
  const std::string exact = "A: " + std::string(91, 'x') + "\r\n\r\n";  // 98 octets
  HeaderCollector fits(98);
  EXPECT_EQ(fits.feed(exact + "body"), 98u);
  EXPECT_TRUE(fits.complete());
  EXPECT_EQ(fits.release(), exact);

  HeaderCollector tight(97);
  EXPECT_EQ(tight.feed(exact + "body"), 102u);
  EXPECT_FALSE(tight.complete());
  EXPECT_TRUE(tight.too_large());
  EXPECT_TRUE(tight.block().size() <= 97);
  EXPECT_EQ(tight.feed("more"), 4u);

  HeaderCollector endless(1000);
  for (int i = 0; i < 2000; ++i) {
    endless.feed("x");
    ASSERT_LE(endless.block().size(), 1000u);
  }
  EXPECT_TRUE(endless.too_large());
}

// --- parse_header ---------------------------------------------------------------------------------------

HeaderReport parse(std::string_view block, HeaderOptions options = {}) {
  const ExactBuffer exact(block);
  return parse_header(exact.view(), options);
}

// "field: reason" of the first finding that is enforced unless the configuration says otherwise, or "ok".
std::string fault_of(std::string_view block, HeaderOptions options = {}) {
  for (const HeaderFinding& finding : parse(block, options).findings) {
    if (finding.rule == Strictness::header_line || finding.rule == Strictness::field_once) continue;
    return finding.field + ": " + finding.reason;
  }
  return "ok";
}

// The rules that found something, as numbers would not tell.
std::string rules_of(std::string_view block, HeaderOptions options = {}) {
  std::string rules;
  for (const HeaderFinding& finding : parse(block, options).findings) {
    const char* name = finding.rule == Strictness::author_count     ? "count "
                       : finding.rule == Strictness::author_missing ? "missing "
                       : finding.rule == Strictness::author_syntax  ? "syntax "
                       : finding.rule == Strictness::author_hidden  ? "hidden "
                       : finding.rule == Strictness::header_control ? "control "
                       : finding.rule == Strictness::header_line    ? "line "
                       : finding.rule == Strictness::field_once     ? "once "
                       : finding.rule == Strictness::header_limit   ? "limit "
                                                                    : "? ";
    rules += name;
  }
  return rules;
}

TEST(ParseHeader, ReadsAnOrdinaryMessage) {
  const HeaderReport report = parse(
      "Received: from a by b; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
      "Received: from c by a\r\n\tfor <x@y>; Sat, 21 Nov 2026 09:00:00 +0000\r\n"
      "DKIM-Signature: v=1; h=To:\r\n From:Subject; b=abc\r\n"
      "From: \"Doe, Jane\"\r\n <jane@example.com>\r\n"
      "Sender: list@example.com\r\n"
      "Reply-To: answers@example.com\r\n"
      "To: A <a@example.com>,\r\n b@example.com\r\n"
      "Cc: Team: c@example.com, d@example.com;\r\n"
      "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n and more\r\n"
      "Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
      "Message-ID: <1@example.com>\r\n"
      "MIME-Version: 1.0\r\n"
      "Content-Type: multipart/mixed;\r\n boundary=\"x\"\r\n"
      "Content-Transfer-Encoding: 8bit\r\n"
      "\r\n");
  EXPECT_TRUE(report.findings.empty());
  const HeaderFacts* facts = &report.facts;
  ASSERT_EQ(facts->from.size(), 1u);
  EXPECT_EQ(facts->from[0].display_name, "Doe, Jane");
  EXPECT_EQ(facts->from[0].mailbox, (Mailbox{"jane", "example.com"}));
  EXPECT_EQ(facts->from_text, "\"Doe, Jane\" <jane@example.com>");
  ASSERT_EQ(facts->sender.size(), 1u);
  EXPECT_EQ(facts->sender[0].mailbox.local, "list");
  ASSERT_EQ(facts->reply_to.size(), 1u);
  EXPECT_EQ(facts->message_id, "<1@example.com>");
  EXPECT_EQ(facts->subject, "=?utf-8?Q?Gr=C3=BC=C3=9Fe?= and more");
  EXPECT_EQ(facts->received_fields, 2u);
  EXPECT_EQ(facts->visible_recipients, 4u);
  EXPECT_EQ(facts->content_type, "multipart/mixed; boundary=\"x\"");
  EXPECT_EQ(facts->content_transfer_encoding, "8bit");
  EXPECT_EQ(facts->content_disposition, "");
  EXPECT_TRUE(facts->has_date);
  EXPECT_FALSE(facts->eight_bit);
}

TEST(ParseHeader, AcceptsWhatIsHarmless) {
  const std::string cases[] = {
      "From: a@b.example\r\n\r\n",
      "From: a@b.example\r\n",  // the message ends inside its header
      "From: a@b.example",      // BDAT without a last CRLF
      "from:a@b.example\r\n\r\n",
      "FROM:\t a@b.example \r\n\r\n",
      "From:\r\n a@b.example\r\n\r\n",
      "From: a@b.example\r\nSubject:\r\n\r\n",
      "From: a@b.example\r\nSubject: raw \xfc\r\n\r\n",  // unencoded Latin-1, old clients
      "From: a@b.example\r\nSubject: \x1b$B;3\x1b(B\r\n\r\n",
      "From: a@b.example\r\nX-Odd_name/1.0: x\r\nX-Odd_name/1.0: y\r\n\r\n",
      "From: a@b.example\r\nSubject: x\r\n From: c@d.example\r\n\r\n",  // a continuation
      "From: a@b.example\r\nReferences: <1>\r\nReferences: <2>\r\n\r\n",
      "From: a@b.example, c@d.example\r\nSender: a@b.example\r\n\r\n",
      "From: a@b.example\r\nReply-To: rubbish <\r\nTo: \"open\r\n\r\n",
      "From: J\xc3\xb6rg <a@b.example>\r\nSender: \xe5\xb1\xb1 <a@b.example>\r\n\r\n",  // without SMTPUTF8
      "From: a@b.example\r\nSubject : x\r\nMIME-Version\t: 1.0\r\n\r\n",
      "Received : x\r\nFrom: a@b.example\r\n\r\n",
      "From: a@b.example\r\nSubject: x\r\n \r\nTo: c@d.example\r\n\r\n",
      "From: a@b.example\r\nSubject: x\r\n\t \t\r\n\r\n",
      "From: a@b.example\r\nno colon\r\n\r\n",
      "From: a@b.example\r\n: x\r\n\r\n",
      "From: a@b.example\r\nSubject: x\r\nthe empty line is missing\r\nSubject: quoted\r\n\r\n",
      "From: a@b.example\r\nS\xc3\xbc\x62ject: x\r\n\r\n",
      "From: a@b.example\r\nSubject: a\x01\x08\x1a\x1f\x7f\r\n\r\n",
      "From: a@b.example\r\nDate: x\r\ndate: x\r\n\r\n",
      "From: a@b.example\r\nDate: x\r\ndate: y\r\n\r\n",
      "From: a@b.example\r\nMessage-ID: x\r\nMessage-Id: y\r\n\r\n",
      "From: a@b.example\r\nSubject: x\r\nSubject: y\r\n\r\n",
      "From: a@b.example\r\nTo: x@y\r\nTo: z@y\r\nCc: x@y\r\nCC: x@y\r\n\r\n",
      "From: a@b.example\r\nReply-To: x@y\r\nReply-To: x@y\r\n\r\n",
      "From: a@b.example\r\nMIME-Version: 1.0\r\nMIME-Version: 1.0\r\n\r\n",
      "From: a@b.example\r\nContent-ID: a\r\nContent-Id: b\r\n\r\n",
      "From: a@b.example\r\nContent-Type: a/b\r\ncontent-type: a/b\r\n\r\n",
      "From: a@my_host.example\r\n\r\n",
      "From: a@b.example\r\nResent-From: x@y.example\r\nResent-From: z@y.example\r\nResent-Sender: "
      "q@y.example\r\n\r\n",
  };
  for (const auto& block : cases) EXPECT_EQ(fault_of(block), "ok") << block;
}

TEST(ParseHeader, RefusesWhatCanBeReadInTwoWays) {
  const std::string from = "From: a@b.example\r\n";
  const std::pair<std::string, std::string> cases[] = {
      {"", "From: no From field"},
      {"From:\r\n\r\n", "From: no address"},
      {"\r\n", "From: no From field"},
      {"Subject: x\r\n\r\n", "From: no From field"},
      {from + "From: c@d.example\r\n\r\n", "From: two From fields"},
      {from + "fRoM: a@b.example\r\n\r\n", "From: two From fields"},
      {" From: c@d.example\r\n" + from, "header: a continuation line without a field"},
      {from + "Sender: x@y.example\r\nSender: x@y.example\r\n\r\n", "Sender: two Sender fields"},
      {from + "Sender\t: c@d.example\r\n\r\n", "header: white space before the colon"},
      {from + "Resent-From : c@d.example\r\n\r\n", "header: white space before the colon"},
      {"\tX\r\n" + from, "header: an author after a continuation line without a field"},
      {"no colon\r\n" + from, "header: an author after a line that is not a field"},
      {from + "no colon\r\nSender: c@d.example\r\n\r\n",
       "header: an author after a line that is not a field"},
      {from + "Fr\x01om: c@d.example\r\n\r\n", "header: a line that is not a field"},
      {from + "=From=: c@d.example\r\n\r\n", "ok"},
      {"From: a@b.example\r\n \r\n\r\n", "header: a line of white space only"},
      {"From:\r\n \r\n a@b.example\r\n\r\n", "header: a line of white space only"},
      {from + "From : c@d.example\r\n\r\n", "header: white space before the colon"},
      {from + "From\t: c@d.example\r\n\r\n", "header: white space before the colon"},
      {"From\r\n : c@d.example\r\n" + from, "header: a line that is not a field"},
      {from + "From\xc2\xa0: c@d.example\r\n\r\n", "header: a line that is not a field"},
      {from + "Fr om: c@d.example\r\n\r\n", "header: a line that is not a field"},
      {from + "From\x0b: c@d.example\r\n\r\n", "header: a control character"},
      {": From: c@d.example\r\n" + from, "header: a field without a name"},
      {"From a@b.example Sat Nov 21\r\n" + from, "header: a line that is not a field"},
      {">From a@b.example\r\n" + from, "header: a line that is not a field"},
      {"Subject: x\r\n \r\n" + from + "\r\n", "header: an author after a line of white space only"},
      {"Subject: x\r\n\t \t\r\n" + from + "\r\n", "header: an author after a line of white space only"},
      {from + "\r\nmore", "header: text after its end"},
      {from + "Subject: a\x0b"
              "From: x\r\n\r\n",
       "header: a control character"},
      {from + "Subject: a\x0c\r\n\r\n", "header: a control character"},
      {from + "Subject: a\x1e\r\n\r\n", "header: a control character"},
      {from + "Subject: a\0b\r\n\r\n"s, "header: a control character"},
      {from + "Subject: a\rb\r\n\r\n", "header: a control character"},
      {from + "Subject: a\nFrom: b\r\n\r\n", "header: a control character"},
      {from + "Sender: x@y.example, z@y.example\r\n\r\n", "Sender: several mailboxes"},
      {from + "Sender:\r\n\r\n", "Sender: no address"},
      {from + "Sender: x@y.example\r\nSender: x@y.example\r\n\r\n", "Sender: two Sender fields"},
      {"From: a@b.example, c@d.example\r\n\r\n", "From: several mailboxes without Sender"},
      {"From: Group: a@b.example;\r\n\r\n", "From: a group"},
      {"From: <admin\r\n @victim.example>\r\n\r\n", "From: a malformed address"},
      {"From: J\xf6rg <a@b.example>\r\n\r\n", "From: octets above 127 that are no UTF-8"},
      {"From: <\xc3\xb6@b.example>\r\n\r\n", "From: octets above 127 in an address"},
      {"From: a@\xc3\xb6.example\r\n\r\n", "From: octets above 127 in an address"},
      {"From: a@b.example \x1b(B\r\n\r\n", "From: text after the address"},
      {from + "Resent-From: <@r.example:x@y.example>\r\n\r\n", "Resent-From: a source route"},
      {from + "Resent-Sender: x\r\n\r\n", "Resent-Sender: a name without an address"},
  };
  for (const auto& [block, fault] : cases) EXPECT_EQ(fault_of(block), fault) << block;
}

TEST(ParseHeader, Options) {
  EXPECT_EQ(fault_of("From: J\xc3\xb6rg <\xc3\xb6@b.example>\r\n\r\n", {.smtputf8 = true}), "ok");
  EXPECT_EQ(fault_of("From: J\xf6rg <a@b.example>\r\n\r\n", {.smtputf8 = true}),
            "From: octets above 127 that are no UTF-8");
  EXPECT_TRUE(parse("From: a@b.example\r\nSubject: \xc3\xb6\r\n\r\n").facts.eight_bit);
}

// What mail systems write into their notices.
TEST(ParseHeader, TheAuthorOfANoticeMayBeNobody) {
  const HeaderOptions notice{.smtputf8 = false, .notice = true};
  for (const char* from :
       {"MAILER-DAEMON <>", "<>", "", "MAILER-DAEMON", "Mail Delivery System <MAILER-DAEMON>",
        "\"Mail Delivery System\" <>", "Mail Delivery System", "<MAILER-DAEMON>", "postmaster",
        "<Postmaster>", "MAILER-DAEMON (Mail Delivery System)", "<> (Mail Delivery System)",
        "=?utf-8?Q?Zustellung?= <>", "Automatic reply:;", "\"Courier mail server at mx.example\" <@>",
        "Syst\xc3\xa8me <>"}) {
    const std::string block = "From: " + std::string(from) + "\r\nTo: a@b.example\r\n\r\n";
    EXPECT_EQ(fault_of(block, notice), "ok") << from;
    EXPECT_TRUE(parse(block, notice).facts.from.empty()) << from;
    EXPECT_NE(fault_of(block), "ok") << from << ": no notice";
  }
  EXPECT_EQ(fault_of("Subject: x\r\n\r\n", notice), "ok");
  EXPECT_EQ(fault_of("Subject: x\r\nSender: a@b.example\r\n\r\n", notice), "ok") << "and judged";
  const std::pair<std::string, std::string> refused[] = {
      {"From: \"admin@victim.example\" <>\r\n", "From: an empty address"},
      {"From: =?utf-8?Q?admin=40victim.example?= <>\r\n", "From: an empty address"},
      {"From: <> (admin@victim.example)\r\n", "From: an empty address"},
      {"From: \"admin@victim.example\":;\r\n", "From: a group"},
      {"From: admin\r\n", "From: a name without an address"},
      {"From: <admin>\r\n", "From: a malformed address"},
      {"From: John Doe\r\n", "From: a name without an address"},
      {"From: Team: admin@victim.example;\r\n", "From: a group"},
      {"From: <@relay.example:admin@victim.example>\r\n", "From: a source route"},
      {"From: <>, <admin@victim.example>\r\n", "From: an empty address"},
      {"From: <> <admin@victim.example>\r\n", "From: an empty address"},
      {"From: <>\r\nFrom: admin@victim.example\r\n", "From: two From fields"},
      {"From: <>\r\nResent-From: admin@victim.example\r\n", "From: no author"},
      {"Resent-Sender: admin@victim.example\r\n", "From: no From field"},
  };
  for (const auto& [block, fault] : refused) EXPECT_EQ(fault_of(block, notice), fault) << block;
  EXPECT_EQ(fault_of("From: a@b.example\r\nResent-From: c@d.example\r\n", notice), "ok");
}

// The facts are read whatever was found: for shadow mode and the journal.
TEST(ParseHeader, FindsAndGoesOn) {
  const HeaderReport report = parse(
      "From : a@b.example\r\nFrom: c@d.example\r\nbroken\r\nFrom: nobody\r\nSubject: s\x0bt\r\n"
      "Message-ID: <1>\r\nSubject: again\r\nContent-Type: text/plain\r\nContent-Type: "
      "multipart/mixed\r\n\r\n");
  EXPECT_EQ(report.facts.from.size(), 2u);
  EXPECT_EQ(report.facts.from_text, "a@b.example");
  EXPECT_EQ(report.facts.subject, "s\x0bt");
  EXPECT_EQ(report.facts.message_id, "<1>");
  EXPECT_EQ(report.facts.content_type, "multipart/mixed");
  EXPECT_TRUE(report.facts.ambiguous_content);
  EXPECT_EQ(
      rules_of("From : a@b.example\r\nFrom: c@d.example\r\nbroken\r\nFrom: nobody\r\nSubject: s\x0bt\r\n"
               "Subject: again\r\n\r\n"),
      "hidden line control count syntax once ");
  EXPECT_EQ(rules_of("From: a@b.example\r\nSubject : x\r\nTo: c@d\r\nTo: e@f\r\n"), "line once ");
}

TEST(ParseHeader, TwoContentFieldsAreAmbiguousWhenTheyDiffer) {
  const std::string from = "From: a@b.example\r\n";
  const auto ambiguous = [&](const std::string& fields) {
    return parse(from + fields + "\r\n").facts.ambiguous_content;
  };
  EXPECT_FALSE(ambiguous("Content-Type: a/b\r\nContent-Type:\r\n a/b\r\n"));
  EXPECT_TRUE(ambiguous("Content-Type: a/b\r\nContent-Type: a/c\r\n"));
  EXPECT_TRUE(ambiguous("Content-Type: a/b\r\nContent-Type : a/c\r\n"));
  EXPECT_TRUE(ambiguous("Content-Disposition: inline\r\nContent-Disposition: attachment\r\n"));
  EXPECT_TRUE(ambiguous("Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n"));
  const auto both = parse(from + "Content-Type: multipart/mixed; boundary=a\r\nContent-Type: text/plain\r\n");
  EXPECT_EQ(both.facts.content_type, "multipart/mixed; boundary=a");
}

TEST(ParseHeader, IsBounded) {
  const std::string from = "From: a@b.example\r\n";
  std::string many = from;
  for (std::size_t i = 1; i < limits::header_fields; ++i) many += "X: y\r\n";
  EXPECT_EQ(fault_of(many), "ok");
  EXPECT_EQ(fault_of(many + "X: y\r\n"), "header: too many fields");
  const std::string longest(limits::author_field_octets, 'x');
  EXPECT_EQ(fault_of(from + "X:" + longest + longest + "\r\n y\r\n"), "ok") << "header_size is the bound";
  EXPECT_EQ(fault_of("From: " + longest.substr(12) + " <a@b.example>\r\n"), "From: a field too long");
  EXPECT_EQ(parse("From: " + longest + " <a@b.example>\r\n").facts.from_text, longest);
  const auto facts = parse(from + "Subject: " + std::string(254, 'x') + "\xc3\xa4\xc3\xa4\r\n").facts;
  EXPECT_EQ(facts.subject.size(), 256u);
  const auto cut = parse(from + "Subject: " + std::string(255, 'x') + "\xc3\xa4\r\n").facts;
  EXPECT_EQ(cut.subject.size(), 255u) << "no character is cut in two";
}

// Inputs of the largest size that would take a quadratic reader minutes.
TEST(ParseHeader, IsLinear) {
  const std::string pieces[] = {"=?a?Q?x", "=?a?X?", "=?", "\"x",        "(x", "x@y,",
                                "\\\"",    "[",      "<",  "=?a?Q?b?= ", "x "};
  for (const auto& piece : pieces) {
    std::string text;
    while (text.size() + piece.size() <= limits::author_field_octets - 100) text += piece;
    for (const std::string& block : {"From: " + text + " <a@b.example>\r\nTo: " + text + "\r\n",
                                     "From: \"" + text + "?=\" <a@b.example>\r\n"}) {
      fault_of(block);
    }
  }
}

// --- HeaderFieldReader ----------------------------------------------------------------------------------

// "name=body|..." with '+' for a folded one and the oddities as "{blank}"; then the fault.
std::string fields_of(std::string_view block) {
  const ExactBuffer exact(block);
  HeaderFieldReader fields(exact.view());
  std::string seen;
  for (HeaderField field; fields.next(field);) {
    seen += std::string(field.name) + '=' + std::string(field.body) + (field.folded ? "+" : "");
    seen += field.blank_before_colon ? "{colon}" : "";
    seen += field.blank_line ? "{blank}" : "";
    seen += field.line_end ? "{end}|" : "|";
  }
  return seen + std::string(fields.fault());
}

TEST(HeaderFieldReader, Fields) {
  const struct {
    std::string_view block, fields;
  } cases[] = {
      {"", ""},
      {"\r\n", ""},
      {"A:\r\n\r\n", "A=|"},
      {"A: b\r\nC:d", "A= b|C=d|"},
      {"A:b\r\n c\r\n\td\r\nE:\r\n", "A=b\r\n c\r\n\td+|E=|"},
      {"A-very-long-name-of-a-field: b: c\r\n", "A-very-long-name-of-a-field= b: c|"},
      {"A:\x1b$B\x1b(B\x0e\x0f\t.\r\nB:c\r\n", "A=\x1b$B\x1b(B\x0e\x0f\t.|B=c|"},
      {"A:b\r\n\r\nC", "A=b|text after its end"},
      {" a\r\nB:c\r\n", "= a|B=c|"},
      {"A:b\r\n \t\r\nC:d\r\n", "A=b\r\n \t+{blank}|C=d|"},
      {"A:b\r\nC\r\n d\r\nE:f\r\n", "A=b|=C|= d|E=f|"},
      {"A b:c\r\n", "=A b:c|"},
      {"\xc3\xa9:c\r\n", "=\xc3\xa9:c|"},
      {":c\r\n", "=:c|"},
      {"A :c\r\n", "A=c{colon}|"},
      {"A \t : c\r\n", "A= c{colon}|"},
      {"A:b\nC:d\r\n", "A=b\nC:d{end}|"},
      {"A:b\r", "A=b\r{end}|"},
      {"A:b\rC:d\r\n", "A=b\rC:d{end}|"},
      {"A:b\r\n c\x0b\r\n", "A=b\r\n c\x0b+{end}|"},
      {"A:b\r\n c\x7f\x01\r\n", "A=b\r\n c\x7f\x01+|"},
  };
  for (const auto& c : cases) EXPECT_EQ(fields_of(c.block), c.fields) << c.block;
}

// Line ends and controls at every place of lines longer than a lane.
TEST(HeaderFieldReader, FindsWhatEndsALineAtEveryPlace) {
  for (std::size_t size = 0; size < 50; ++size) {
    const std::string body(size, 'x');
    EXPECT_EQ(fields_of("A:" + body + "\r\nB:" + body + "\r\n"), "A=" + body + "|B=" + body + '|');
    EXPECT_EQ(fields_of("A:" + body + "\r\n " + body + "y"), "A=" + body + "\r\n " + body + "y+|");
    EXPECT_EQ(fields_of("A:" + body + '\x0c' + body + "\r\n"), "A=" + body + '\x0c' + body + "{end}|");
    EXPECT_EQ(fields_of("A:" + body + '\x0e' + body + "\r\n"), "A=" + body + '\x0e' + body + '|');
  }
}

TEST(HeaderFieldReader, Limits) {
  std::string many;
  for (std::size_t i = 0; i < limits::header_fields; ++i) many += "A:\r\n";
  EXPECT_FALSE(fields_of(many).ends_with("fields"));
  EXPECT_TRUE(fields_of(many + "A:").ends_with("too many fields"));
  EXPECT_TRUE(fields_of(many + "no field").ends_with("too many fields"));
}

// What is wrong with the block is said before what is wrong with a field, wherever they are.
TEST(ParseHeader, TheBlockIsJudgedBeforeItsFields) {
  EXPECT_EQ(fault_of("From: nobody\r\nFrom: a@b.example\r\nFrom b\r\n"),
            "header: a line that is not a field");
  EXPECT_EQ(fault_of("Subject: a\r\nSubject: b\r\nTo: c\x0b\r\n"), "header: a control character");
}

TEST(Unfold, KeepsTheBlankThatFolds) {
  EXPECT_EQ(unfold(" a\r\n b\r\n\tc \t"), "a b\tc");
  EXPECT_EQ(unfold("\r\n a"), "a");
  EXPECT_EQ(unfold(""), "");
  EXPECT_EQ(unfold(" \t"), "");
  std::string memory;
  EXPECT_EQ(unfold(HeaderField{"A", " \tb c\t ", false}, memory), "b c");
  EXPECT_EQ(unfold(HeaderField{"A", " \t ", false}, memory), "");
  EXPECT_EQ(unfold(HeaderField{"A", " b\r\n c ", true}, memory), "b c");
}

}  // namespace
}  // namespace portcullis::smtp
