#include "smtp/path.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "smtp/address_literal.h"
#include "smtp/ascii.h"
#include "smtp/limits.h"
#include "tests/smtp/segments.h"

namespace portcullis::smtp {

static std::ostream& operator<<(std::ostream& out, PathError error) { return out << static_cast<int>(error); }

namespace {

using std::string_literals::operator""s;
using test::ExactBuffer;

constexpr auto mail = parse_mail_argument;
constexpr auto rcpt = parse_rcpt_argument;

struct Good {
  decltype(&parse_mail_argument) parse;
  std::string argument;
  std::string wire;  // canonical spelling
  std::string local;
  std::string domain;
  std::string parameters;
  bool utf8 = false;
};

const Good good[] = {
    {mail, "FROM:<>", "<>", "", "", ""},
    {mail, "from:<> SIZE=1", "<>", "", "", "SIZE=1"},
    {mail, "FROM:<a@example.com>", "<a@example.com>", "a", "example.com", ""},
    {mail, "FROM: <a@example.com> BODY=7BIT X", "<a@example.com>", "a", "example.com", "BODY=7BIT X"},
    {rcpt, "To:<Al.Ice+tag@Example.COM>", "<Al.Ice+tag@Example.COM>", "Al.Ice+tag", "Example.COM", ""},
    {rcpt, "TO:<!#$%&'*+-/=?^_`{|}~@a>", "<!#$%&'*+-/=?^_`{|}~@a>", "!#$%&'*+-/=?^_`{|}~", "a", ""},
    // Quoted strings: one canonical spelling, whatever was written.
    {rcpt, "TO:<\"alice\"@example.com>", "<alice@example.com>", "alice", "example.com", ""},
    {rcpt, "TO:<\"\\a\\l\\i\\c\\e\"@example.com>", "<alice@example.com>", "alice", "example.com", ""},
    {rcpt, "TO:<\"a.b\"@example.com>", "<a.b@example.com>", "a.b", "example.com", ""},
    {rcpt, "TO:<\"a..b\"@example.com>", "<\"a..b\"@example.com>", "a..b", "example.com", ""},
    {rcpt, "TO:<\".a\"@example.com>", "<\".a\"@example.com>", ".a", "example.com", ""},
    {rcpt, "TO:<\"a.\"@example.com>", "<\"a.\"@example.com>", "a.", "example.com", ""},
    {rcpt, "TO:<\"a b\"@example.com> X", "<\"a b\"@example.com>", "a b", "example.com", "X"},
    {rcpt, "TO:<\"a> b\"@example.com>", "<\"a> b\"@example.com>", "a> b", "example.com", ""},
    {rcpt, "TO:<\"a\\\"\\\\b\"@example.com>", "<\"a\\\"\\\\b\"@example.com>", "a\"\\b", "example.com", ""},
    // What RFC 5321 has otherwise and nobody reads differently.
    {mail, "FROM:a@example.com", "<a@example.com>", "a", "example.com", ""},
    {mail, "FROM: a@example.com SIZE=1", "<a@example.com>", "a", "example.com", "SIZE=1"},
    {rcpt, "TO:\"a b\"@example.com X", "<\"a b\"@example.com>", "a b", "example.com", "X"},
    {rcpt, "TO:postmaster", "<postmaster>", "postmaster", "", ""},
    {mail, "FROM:\t<a@example.com>", "<a@example.com>", "a", "example.com", ""},
    {rcpt, "TO:<a..b@example.com>", "<a..b@example.com>", "a..b", "example.com", ""},
    {rcpt, "TO:<.a.@example.com>", "<.a.@example.com>", ".a.", "example.com", ""},
    {mail, "FROM:<a@win_pc.example>", "<a@win_pc.example>", "a", "win_pc.example", ""},
    // Source routes are read and dropped.
    {rcpt, "TO:<@a.example:b@c.example>", "<b@c.example>", "b", "c.example", ""},
    {rcpt, "TO:<@a.example,@[192.0.2.1],@[IPv6:::1]:b@c.example>", "<b@c.example>", "b", "c.example", ""},
    {mail, "FROM:<@a.example:b@c.example>", "<b@c.example>", "b", "c.example", ""},
    // Address literals.
    {rcpt, "TO:<a@[192.0.2.1]>", "<a@[192.0.2.1]>", "a", "[192.0.2.1]", ""},
    {rcpt, "TO:<a@[IPv6:2001:db8::1]>", "<a@[IPv6:2001:db8::1]>", "a", "[IPv6:2001:db8::1]", ""},
    // Postmaster needs no domain, in any case.
    {rcpt, "TO:<Postmaster>", "<Postmaster>", "Postmaster", "", ""},
    {rcpt, "TO:<POSTMASTER> NOTIFY=NEVER", "<POSTMASTER>", "POSTMASTER", "", "NOTIFY=NEVER"},
    {rcpt, "TO:<postmaster@a.example>", "<postmaster@a.example>", "postmaster", "a.example", ""},
    // RFC 6531.
    {rcpt, "TO:<\xc3\xa9@\xc3\xa9.example>", "<\xc3\xa9@\xc3\xa9.example>", "\xc3\xa9", "\xc3\xa9.example",
     "", true},
    {rcpt, "TO:<\"\xc3\xa9 x\"@a.example>", "<\"\xc3\xa9 x\"@a.example>", "\xc3\xa9 x", "a.example", "",
     true},
    {mail, "FROM:<\xf0\x9f\x93\xa7@a.example> SMTPUTF8", "<\xf0\x9f\x93\xa7@a.example>", "\xf0\x9f\x93\xa7",
     "a.example", "SMTPUTF8", true},
};

TEST(ParsePath, ReadsOneWay) {
  for (const Good& c : good) {
    const ExactBuffer argument(c.argument);
    const auto parsed = c.parse(argument.view(), true);
    ASSERT_TRUE(parsed.has_value()) << c.argument;
    EXPECT_EQ(to_wire(parsed->path), c.wire) << c.argument;
    EXPECT_EQ(parsed->path.null, c.wire == "<>") << c.argument;
    EXPECT_EQ(parsed->path.mailbox.local, c.local) << c.argument;
    EXPECT_EQ(parsed->path.mailbox.domain, c.domain) << c.argument;
    EXPECT_EQ(parsed->path.utf8, c.utf8) << c.argument;
    EXPECT_EQ(parsed->parameters, c.parameters) << c.argument;
    // Without SMTPUTF8 the same, or refused for its octets.
    const auto ascii = c.parse(argument.view(), false);
    if (c.utf8) {
      EXPECT_EQ(ascii.error(), PathError::utf8_not_allowed) << c.argument;
    } else {
      EXPECT_EQ(ascii->path.mailbox, parsed->path.mailbox) << c.argument;
    }
  }
}

TEST(ParsePath, TheCanonicalSpellingReadsAsItself) {
  for (const Good& c : good) {
    const std::string again = (c.parse == mail ? "FROM:" : "TO:") + c.wire;
    const auto parsed = c.parse(again, true);
    ASSERT_TRUE(parsed.has_value()) << again;
    EXPECT_EQ(to_wire(parsed->path), c.wire);
  }
}

TEST(ParsePath, RefusesWhatCanBeReadTwoWays) {
  const std::string bad[] = {
      "",
      "FROM",
      "FROM:",
      "FROM :<a@b>",
      "TO:<a@b>",
      "FROM:<a@b",
      "FROM:a@b>",
      "FROM: a @b",
      "FROM:a@b,c",
      "FROM:Joe <a@b>",
      "FROM:@r:a@b",
      "FROM:<.@b>",
      "FROM:<...@b>",
      "FROM:<a@b>X=1",
      "FROM:<a@b>>",
      "FROM:<<a@b>>",
      "FROM:<a@b>\tSIZE=1",
      "FROM:< a@b>",
      "FROM:<a@b >",
      "FROM:< >",
      "FROM:<a>",
      "FROM:<postmaster>",
      "FROM:<a@>",
      "FROM:<@b>",
      "FROM:<a@b@c>",
      "FROM:<a b@c>",
      "FROM:<a,b@c>",
      "FROM:<a(x)@c>",
      "FROM:<a@b(x)>",
      "FROM:<a:b@c>",
      "FROM:<a\\b@c>",
      "FROM:<a@.b>",
      "FROM:<a@b.>",
      "FROM:<a@b..c>",
      "FROM:<a@-b>",
      "FROM:<a@b->",
      "FROM:<a@b/c>",
      "FROM:<a@b:25>",
      "FROM:<a@b,c>",
      "FROM:<\"a@b\"@c>",
      "FROM:<\"a\\@b\"@c>",
      "FROM:<\"\"@c>",
      "FROM:<\"a@c>",
      "FROM:<\"a\"b@c>",
      "FROM:<a\"b\"@c>",
      "FROM:<\"a\".b@c>",
      "FROM:<\"a\tb\"@c>",
      "FROM:<\"a\\",
      "FROM:<\"a\\\x7f\"@c>",
      "FROM:<\"a\0b\"@c>"s,
      "FROM:<a\0b@c>"s,
      "FROM:<a\x01@c>",
      "FROM:<a\x7f@c>",
      "FROM:<a@c\x01>",
      "FROM:<a@\0>"s,
      "FROM:<@a:>",
      "FROM:<@a:b>",
      "FROM:<@a,b:c@d>",
      "FROM:<@a,:c@d>",
      "FROM:<@:c@d>",
      "FROM:<@a;c@d>",
      "FROM:<@a:@b:c@d>",
      "FROM:<@a: c@d>",
      "FROM:<a@[192.0.2.1>",
      "FROM:<a@[192.0.2.1]b>",
      "FROM:<a@b[192.0.2.1]>",
      "FROM:<a@[]>",
      "FROM:<a@[x:y]>",
      "FROM:<a@[>",
      // UTF-8 that is none, or that nobody sees
      "FROM:<\xff@b>",
      "FROM:<\xc3@b>",
      "FROM:<\xc0\xaf@b>",
      "FROM:<\xed\xa0\x80@b>",
      "FROM:<\xf4\x90\x80\x80@b>",
      "FROM:<a@\xff>",
      "FROM:<a@\xc3>",
      "FROM:<\xc2\x85@b>",
      "FROM:<a@\xc2\x9f.example>",
      "FROM:<a\u202e@b>",
      "FROM:<\"a\u200b\"@b>",
      "FROM:<a@b\u2066.example>",
      "FROM:<a\U000e0041@b>",
      "FROM:<\"\\\xc3\xa9\"@b>",
      "FROM:<a@" + std::string(64, 'd') + ">",
  };
  for (const std::string& text : bad) {
    const ExactBuffer argument(text);
    const auto parsed = mail(argument.view(), true);
    ASSERT_FALSE(parsed.has_value()) << text << " read as " << to_wire(parsed->path);
    EXPECT_EQ(parsed.error(), PathError::syntax) << text;
    const auto as_ascii = mail(argument.view(), false);
    EXPECT_FALSE(as_ascii.has_value()) << text;
  }
  for (const std::string text :
       {"TO:<>", "TO:< >", "TO:<postmaster@>", "TO:<postmaste>", "TO:<postmasterx>", "TO:<postmaster",
        "TO:postmaster>", "TO:<\"postmaster\">", "FROM:<a@b>", "TO:<@a:postmaster>"}) {
    EXPECT_EQ(rcpt(ExactBuffer(text).view(), true).error(), PathError::syntax) << text;
  }
}

TEST(ParsePath, SaysWhatRfc5321HasOtherwise) {
  const std::string local(64, 'l');
  for (const std::string& plain : {"FROM:<>"s, "FROM: <a@b.example> X"s, "FROM:<\"a..b\"@b.example>"s,
                                   "FROM:<" + local + "@b.example>"}) {
    EXPECT_FALSE(mail(plain, false)->odd_form) << plain;
  }
  for (const std::string& odd : {"FROM:a@b.example"s, "FROM:<a..b@b.example>"s, "FROM:<a@b_c.example>"s,
                                 "FROM:<" + local + "l@b.example>"}) {
    EXPECT_TRUE(mail(odd, false)->odd_form) << odd;
  }
}

TEST(ParsePath, HoldsTheLimitsOfRfc5321) {
  const std::string local(64, 'l');
  const std::string label(63, 'd');
  const auto parse = [](const std::string& mailbox) { return mail("FROM:<" + mailbox + ">", true); };
  EXPECT_TRUE(parse(local + "@example.com").has_value());
  // VERP and SRS need more than 64.
  const std::string verp(242, 'v');
  EXPECT_TRUE(parse(verp + "@example.com").has_value());
  EXPECT_EQ(parse(verp + "v@example.com").error(), PathError::too_long);

  const std::string domain = label + "." + label + "." + label;  // 191
  EXPECT_TRUE(parse(local.substr(0, 62) + "@" + domain).has_value());
  EXPECT_EQ(parse(local.substr(0, 63) + "@" + domain).error(), PathError::too_long);
  EXPECT_EQ(parse("a@" + domain + "." + label + ".x").error(), PathError::too_long);  // 257
  // Quotes and backslashes count as they are sent.
  EXPECT_TRUE(parse("\"" + std::string(60, ' ') + "\"@" + domain).has_value());
  EXPECT_EQ(parse("\"" + std::string(61, ' ') + "\"@" + domain).error(), PathError::too_long);
  std::string escaped;
  for (int i = 0; i < 31; ++i) escaped += "\\\\";
  EXPECT_EQ(parse("\"" + escaped + "\"@" + domain).error(), PathError::too_long);
  // A route that is dropped does not count.
  EXPECT_TRUE(parse("@" + domain + ",@" + domain + ":a@b.example").has_value());
}

// RFC 5321 4.1.2 and 1035 2.3.4 put plainly, for ASCII: labels of letters, digits, hyphens within, and the
// underscores of hosts.
bool is_ascii_domain(std::string_view domain) {
  while (true) {
    const std::string_view label = domain.substr(0, domain.find('.'));
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    for (const char c : label) {
      if (c != '-' && c != '_' && !is_alpha(c) && !is_digit(c)) return false;
    }
    if (label.size() == domain.size()) return true;
    domain.remove_prefix(label.size() + 1);
  }
}

TEST(IsValidDomain, EveryOctetAtEveryPlace) {
  const std::string label(63, 'd');
  const std::string domain = "ab.c-d." + label + ".e";
  for (std::size_t at = 0; at < domain.size(); ++at) {
    for (int octet = 0; octet < 256; ++octet) {
      std::string text = domain;
      text[at] = static_cast<char>(octet);
      const ExactBuffer exact(text);
      const bool literal = text.front() == '[';
      EXPECT_EQ(is_valid_domain(exact.view(), false), !literal && is_ascii_domain(text)) << text;
    }
  }
  EXPECT_FALSE(is_valid_domain(label + "d.example", true));
  EXPECT_TRUE(is_valid_domain(label + "\xc3\xa9.example", true));
  EXPECT_FALSE(is_valid_domain(label + "\xc3\xa9.example", false));
  EXPECT_FALSE(is_valid_domain("a.\xc3\xa9-.example", true));
  EXPECT_FALSE(is_valid_domain("\xc3\xa9..example", true));
}

TEST(AppendWire, IsToWireInPlace) {
  for (const Path& path : {Path{.null = true, .mailbox = {}, .utf8 = false},
                           Path{.null = false, .mailbox = {"a b", "c.example"}, .utf8 = false},
                           Path{.null = false, .mailbox = {"postmaster", ""}, .utf8 = false}}) {
    std::string out = "MAIL FROM:";
    append_wire(out, path);
    EXPECT_EQ(out, "MAIL FROM:" + to_wire(path));
  }
  for (const auto& [local, spelling] :
       {std::pair("a.b", "a.b"), std::pair(".a", "\".a\""), std::pair("a.", "\"a.\""),
        std::pair("a..b", "\"a..b\""), std::pair("", "\"\""), std::pair(".", "\".\""),
        std::pair("a\"\\", "\"a\\\"\\\\\""), std::pair("\xc3\xa9", "\xc3\xa9")}) {
    EXPECT_EQ(to_string(Mailbox{local, "d"}), std::string(spelling) + "@d");
  }
}

TEST(ParseMailbox, TakesAWholeAddress) {
  EXPECT_EQ(parse_mailbox("\"a b\"@example.com", false), (Mailbox{"a b", "example.com"}));
  EXPECT_EQ(to_string(*parse_mailbox("\"a b\"@example.com", false)), "\"a b\"@example.com");
  EXPECT_EQ(parse_mailbox("\xc3\xa9@example.com", false).error(), PathError::utf8_not_allowed);
  EXPECT_TRUE(parse_mailbox("\xc3\xa9@example.com", true).has_value());
  for (const char* text :
       {"", "a", "a@", "@b", "<a@b>", "a@b ", " a@b", "a@b>", "a@b,c@d", "@x:a@b", "postmaster"}) {
    EXPECT_EQ(parse_mailbox(ExactBuffer(text).view(), true).error(), PathError::syntax) << text;
  }
}

TEST(IsValidDomain, Table) {
  const std::string label(63, 'd');
  const std::string longest = label + "." + label + "." + label + "." + label;  // 255
  for (const std::string& domain : {"a"s, "example.com"s, "a-b.c"s, "1.2.3.4"s, "_a.b_c"s,
                                    "xn--bcher-kva.example"s, label, longest, "[192.0.2.1]"s, "[ipv6:::]"s}) {
    EXPECT_TRUE(is_valid_domain(ExactBuffer(domain).view(), false)) << domain;
  }
  for (const std::string& domain :
       {""s, "."s, "a."s, ".a"s, "a..b"s, "-a"s, "a-"s, "a b"s, "a\0"s, label + "d", longest + "x",
        "[1.2.3]"s, "[1.2.3.4"s, "\xc3\xa9.example"s}) {
    EXPECT_FALSE(is_valid_domain(ExactBuffer(domain).view(), false)) << domain;
  }
  EXPECT_TRUE(is_valid_domain("\xc3\xa9.example", true));
  EXPECT_FALSE(is_valid_domain("\xc3.example", true));
}

TEST(AddressLiteral, Table) {
  for (const char* text : {"0.0.0.0", "255.255.255.255", "192.0.2.1"})
    EXPECT_TRUE(is_valid_ipv4(text)) << text;
  for (const char* text :
       {"", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.1.1.999", "01.2.3.4", "1.2.3.04", "1..2.3", ".1.2.3",
        "1.2.3.", "1.2.3.4 ", "1.2.3.a", "1.2.3.0000", "0x1.2.3.4", "-1.2.3.4"}) {
    EXPECT_FALSE(is_valid_ipv4(ExactBuffer(text).view())) << text;
  }
  for (const char* text : {"::", "::1", "1::", "1:2:3:4:5:6:7:8", "2001:db8::1", "::ffff:192.0.2.1", "1::8",
                           "1:2:3:4:5:6:192.0.2.1", "fE80::aBcD", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8"}) {
    EXPECT_TRUE(is_valid_ipv6(ExactBuffer(text).view())) << text;
  }
  for (const char* text : {"", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::",
                           "g::", "::1%eth0", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "1.2.3.4::", "::1.2.3.4:1",
                           "::1.2.3", "1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4::5:6:7:8", "::-1", ":: 1"}) {
    EXPECT_FALSE(is_valid_ipv6(ExactBuffer(text).view())) << text;
  }
  for (const char* text : {"[192.0.2.1]", "[IPv6:::1]", "[IPV6:::1]"})
    EXPECT_TRUE(is_valid_address_literal(text));
  for (const char* text : {"", "[", "]", "[]", "192.0.2.1", "[192.0.2.1", "[::1]", "[IPv6:192.0.2.1]",
                           "[IPv6:]", "[IPv4:192.0.2.1]", "[[192.0.2.1]]", "[tag:content]"}) {
    EXPECT_FALSE(is_valid_address_literal(ExactBuffer(text).view())) << text;
  }
}

}  // namespace
}  // namespace portcullis::smtp
