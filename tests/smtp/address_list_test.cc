#include "smtp/address_list.h"

#include <gtest/gtest.h>

#include <string>

#include "smtp/encoded_word.h"
#include "tests/smtp/segments.h"

namespace portcullis::smtp {
namespace {

using std::string_literals::operator""s;
using test::ExactBuffer;

// "name|local|domain" of each mailbox, joined by ", "; or "! fault".
std::string read_authors(std::string_view text, bool smtputf8 = false) {
  const ExactBuffer exact(text);
  const auto mailboxes = parse_author_list(exact.view(), {.smtputf8 = smtputf8});
  if (!mailboxes) return "! " + std::string(mailboxes.error());
  std::string out;
  for (const auto& one : *mailboxes) {
    out += (out.empty() ? "" : ", ") + one.display_name + "|" + one.mailbox.local + "|" + one.mailbox.domain;
  }
  return out;
}

struct Authors {
  std::string text;
  std::string read;
};

// What real clients, lists and devices write.
TEST(AuthorList, AcceptsWhatClientsSend) {
  const Authors cases[] = {
      {"joe@example.com", "|joe|example.com"},
      {"<joe@example.com>", "|joe|example.com"},
      {"Joe <joe@example.com>", "Joe|joe|example.com"},
      {"Joe<joe@example.com>", "Joe|joe|example.com"},
      {"\"Joe\"<joe@example.com>", "Joe|joe|example.com"},
      {"\"Doe, Joe (Sales)\" <joe@example.com>", "Doe, Joe (Sales)|joe|example.com"},
      {"John Q. Public <jqp@example.com>", "John Q. Public|jqp|example.com"},
      {"J.R. \"Bob\" Dobbs <bob@example.com>", "J.R. Bob Dobbs|bob|example.com"},
      {"Sean O'Brien <sean@example.com>", "Sean O'Brien|sean|example.com"},
      {"\"O\\'Brien \\\"Sean\\\"\" <sean@example.com>", "O'Brien \"Sean\"|sean|example.com"},
      {"Shop/News & More <news@example.com>", "Shop/News & More|news|example.com"},
      {"=?utf-8?B?SsO2cmc=?= <j@example.com>", "=?utf-8?B?SsO2cmc=?=|j|example.com"},
      {"=?iso-8859-1?Q?M=FCller=2C_J=F6rg?= <j@example.com>",
       "=?iso-8859-1?Q?M=FCller=2C_J=F6rg?=|j|example.com"},
      {"\"=?utf-8?Q?J=C3=B6rg?=\" <j@example.com>", "=?utf-8?Q?J=C3=B6rg?=|j|example.com"},
      {"=?ISO-2022-JP?B?GyRCOzNFRBsoQiA8?= <y@example.jp>", "! an angle bracket in a name"},
      {"=?ISO-2022-JP?B?GyRCPCE8PiVALDwbKEI=?= <y@example.jp>",
       "=?ISO-2022-JP?B?GyRCPCE8PiVALDwbKEI=?=|y|example.jp"},
      {"\"joe@example.com\" <joe@example.com>", "joe@example.com|joe|example.com"},
      {"\"'joe@example.com' via List\" <list@example.org>", "'joe@example.com' via List|list|example.org"},
      {"joe@example.com <joe@example.com>", "joe@example.com|joe|example.com"},
      {"joe@Example.com <joe@example.com>", "joe@Example.com|joe|example.com"},
      {"Joe.Doe@Example.com <joe.doe@example.com>", "Joe.Doe@Example.com|joe.doe|example.com"},
      {"postmaster@corp.example (postmaster@corp.example)",
       "postmaster@corp.example|postmaster|corp.example"},
      {"joe@corp.example (JOE@corp.example, Sales)", "JOE@corp.example, Sales|joe|corp.example"},
      {"joe@corp.example (\"Joe Doe\")", "\"Joe Doe\"|joe|corp.example"},
      {"Joe (joe@corp.example) <joe@corp.example>", "Joe|joe|corp.example"},
      {"joe@example.com (Joe (Sales))", "Joe (Sales)|joe|example.com"},
      {"=?utf-8?Q?joe=40example.com?= <joe@example.com>", "=?utf-8?Q?joe=40example.com?=|joe|example.com"},
      {"J\xc3\xb6rg <j@b.example>", "J\xc3\xb6rg|j|b.example"},
      {"\"J\xc3\xb6rg, Dr.\" <j@b.example>", "J\xc3\xb6rg, Dr.|j|b.example"},
      {"j@b.example (J\xc3\xb6rg)", "J\xc3\xb6rg|j|b.example"},
      {"joe@my_host.example", "|joe|my_host.example"},
      {"joe@example.com (Joe Doe)", "Joe Doe|joe|example.com"},
      {"root@host.example.com (Cron Daemon)", "Cron Daemon|root|host.example.com"},
      {"Joe (via List) <list@example.com>", "Joe|list|example.com"},
      {"<joe@example.com> (Joe)", "Joe|joe|example.com"},
      {"joe+tag@example.com", "|joe+tag|example.com"},
      {"a..b.@docomo.example", "|a..b.|docomo.example"},
      {"\"a..b\"@docomo.example", "|a..b|docomo.example"},
      {"\"joe\"@example.com", "|joe|example.com"},
      {"scanner@[192.0.2.1]", "|scanner|[192.0.2.1]"},
      {"<x@[IPv6:2001:db8::1]>", "|x|[IPv6:2001:db8::1]"},
      {"a@b.example, \"C, D\" <c@d.example>,e@f.example", "|a|b.example, C, D|c|d.example, |e|f.example"},
      {"\"\" <a@b.example>", "|a|b.example"},
  };
  for (const auto& [text, read] : cases) EXPECT_EQ(read_authors(text), read) << text;
}

// Published spoofing forms (Chen, Paxson, Jiang: Composition Kills, 2020) and their relatives.
TEST(AuthorList, RefusesWhatReadersDisagreeAbout) {
  const Authors cases[] = {
      {"", "! no address"},
      {"<>", "! an empty address"},
      {"Joe", "! a name without an address"},
      {"root", "! a name without an address"},
      {"Joe Doe, <joe@example.com>", "! a name without an address"},
      {"<admin@victim.example> <me@attack.example>", "! text after the address"},
      {"<a@b.example>(comment) <c@d.example>", "! text after the address"},
      {"<me@attack.example>admin@victim.example", "! text after the address"},
      {"admin@victim.example<me@attack.example>", "! two different addresses in one mailbox"},
      {"admin@victim.example <me@attack.example>", "! two different addresses in one mailbox"},
      {"<admin@victim.example>\\,<me@attack.example>", "! text after the address"},
      {"<@attack.example,@any.example:admin@victim.example>", "! a source route"},
      {"=?utf-8?B?PGFkbWluQHZpY3RpbS5leGFtcGxlPg==?=,<me@attack.example>", "! a name without an address"},
      {"=?utf-8?B?PGFkbWluQHZpY3RpbS5leGFtcGxlPg==?= <me@attack.example>", "! an angle bracket in a name"},
      {"=?utf-8?Q?admin=40victim.example?= <me@attack.example>", "! an encoded address in a name"},
      {"\"joe@b.example\" =?utf-8?Q?admin=40victim.example?= <me@attack.example>",
       "! an encoded address in a name"},
      {"=?utf-8?Q?admin?= =?utf-8?Q?=40?= =?utf-8?Q?victim.example?= <me@attack.example>",
       "! an encoded address in a name"},
      {"\"=?utf-8?Q?=3Cadmin=40victim.example=3E?=\" <me@attack.example>", "! an angle bracket in a name"},
      {"=?utf-8?Q?=3D=3Futf-8=3FQ=3F=3D3Ca=3F=3D?= <me@attack.example>", "! an angle bracket in a name"},
      {"=?utf-8?Q?a=00b?= <me@attack.example>", "! a control character in a name"},
      {"=?utf-8?Q?a=0D=0AFrom=3A_b?= <me@attack.example>", "! a control character in a name"},
      {"=?utf-7?Q?+ADw-admin+AD4-?= <me@attack.example>", "! an encoded word in a charset that hides ASCII"},
      {"=?utf-8?B?PGFk!!bWlu?= <me@attack.example>", "! an encoded word with broken base64"},
      {"=?utf-8?B?PGFk=bWlu?= <me@attack.example>", "! an encoded word with broken base64"},
      {"=?utf-8?Q?admin?=@victim.example", "! an encoded word in an address"},
      {"\"admin@victim.example\"@attack.example", "! a quoted local part with special characters"},
      {"\"admin@victim.example,\"@attack.example", "! a quoted local part with special characters"},
      {"\"a b\"@attack.example", "! a quoted local part with special characters"},
      {"\"a\\b\"@attack.example", "! a quoted local part with special characters"},
      {"\"\"@attack.example", "! a quoted local part with special characters"},
      {"\"<admin@victim.example>\" <me@attack.example>", "! an angle bracket in a name"},
      {"\"admin@victim.example,\" <me@attack.example>", "! a list of addresses in a name"},
      {"\"a\\\", admin@victim.example, \\\"b\" <me@attack.example>", "! a list of addresses in a name"},
      {"\"a\\\" admin@victim.example \\\"b\" <me@attack.example>", "! a list of addresses in a name"},
      {"\"unterminated <me@attack.example>", "! an unterminated quoted string"},
      {"\"a\\", "! a malformed quoted string"},
      {"(admin@victim.example) me@attack.example", "! a comment before the name"},
      {"(comment) <me@attack.example>", "! a comment before the name"},
      {"me@attack.example (admin@victim.example)", "! a special character in a comment"},
      {"me@attack.example (<admin)", "! an angle bracket in a name"},
      {"me@attack.example (me@attack.example, admin@victim.example)", "! a special character in a comment"},
      {"me@attack.example (xme@attack.example)", "! a special character in a comment"},
      {"me@attack.example (\"admin@victim.example\")", "! a special character in a comment"},
      {"me@attack.example (\"a\" (b))", "! a special character in a comment"},
      {"me@attack.example (a (b)", "! an unterminated comment"},
      {"Joe (admin@victim.example) <me@attack.example>", "! a special character in a comment"},
      {"J\xf6rg <j@b.example>", "! octets above 127 that are no UTF-8"},
      {"J\xc3\xb6rg@b.example", "! octets above 127 in an address"},
      {"<j@b.example> (J\xe2\x80\xa8)", "! octets above 127 that may not stand there"},
      {"me@attack.example (a\\)", "! a special character in a comment"},
      {"me@attack.example (\"a)", "! a special character in a comment"},
      {"me@attack.example (=?utf-8?Q?a=40b?=)", "! a special character in a comment"},
      {"me@attack.example (unterminated", "! an unterminated comment"},
      {"admin(x)@victim.example", "! an '@' in an unquoted name"},
      {"admin@(x)victim.example", "! a malformed domain"},
      {"<admin@victim.example(x)>", "! a malformed address"},
      {"admin @victim.example", "! an '@' in an unquoted name"},
      {"admin@ victim.example", "! a malformed domain"},
      {"<admin @victim.example>", "! a malformed address"},
      {"< admin@victim.example>", "! a malformed address"},
      {"<admin@victim.example >", "! a malformed address"},
      {"<admin@victim.example", "! a malformed address"},
      {"admin@victim.example>", "! text after the address"},
      {"<<admin@victim.example>>", "! a malformed address"},
      {"Group: a@b.example;", "! a group"},
      {"undisclosed:;", "! a group"},
      {"a@b.example;", "! text after the address"},
      {"a@b.example; c@d.example", "! text after the address"},
      {"a@b.example,", "! no address"},
      {",a@b.example", "! no address"},
      {"a@b.example,,c@d.example", "! no address"},
      {"a@b@c.example", "! text after the address"},
      {"@c.example", "! an '@' in an unquoted name"},
      {"a@", "! a malformed domain"},
      {"a@b..example", "! a malformed domain"},
      {"a@b.example.", "! a malformed domain"},
      {"a@[192.0.2.1", "! a malformed domain"},
      {"Joe: x <a@b.example>", "! a group"},
      {"Joe \\x <a@b.example>", "! a special character in an unquoted name"},
      {"[Shop] News <a@b.example>", "! a special character in an unquoted name"},
      {"admin[ <a@b.example>", "! a special character in an unquoted name"},
      {"Joe ) <a@b.example>", "! a special character in an unquoted name"},
      {"a\x01@b.example", "! a special character in an unquoted name"},
      {"a@b.example\0@c.example"s, "! text after the address"},
      {"a@b.example\x0b<c@d.example>", "! text after the address"},
      {std::string(250, 'a') + "@b.example", "! an address too long"},
  };
  for (const auto& [text, read] : cases) EXPECT_EQ(read_authors(text), read) << text;
}

TEST(AuthorList, Utf8WhereNegotiated) {
  const Authors cases[] = {
      {"J\xc3\xb6rg <j\xc3\xb6rg@m\xc3\xbcnchen.example>", "J\xc3\xb6rg|j\xc3\xb6rg|m\xc3\xbcnchen.example"},
      {"\xe5\xb1\xb1\xe3\x80\x80\xe7\x94\xb0 <y@b.example>",
       "\xe5\xb1\xb1\xe3\x80\x80\xe7\x94\xb0|y|b.example"},
      {"a\xc2\xa0@b.example", "! octets above 127 in an address"},  // no-break space
      {"a@b\xe3\x80\x82"
       "example",
       "! octets above 127 in an address"},  // ideographic full stop
      {"admin\xef\xbc\xa0victim.example <a@b.example>", "admin\xef\xbc\xa0victim.example|a|b.example"},
      {"a\xef\xbc\xa0x@b.example", "! octets above 127 in an address"},                // full-width '@'
      {"a\xe2\x80\x8b@b.example", "! octets above 127 in an address"},                 // zero-width space
      {"a\xe2\x80\xa8 <a@b.example>", "! octets above 127 that may not stand there"},  // line separator
      {"a\xc2\x85 <a@b.example>", "! octets above 127 that may not stand there"},      // NEL
      {"a\xff <a@b.example>", "! octets above 127 that are no UTF-8"},
      {"\xc3 <a@b.example>", "! octets above 127 that are no UTF-8"},
  };
  for (const auto& [text, read] : cases) EXPECT_EQ(read_authors(text, true), read) << text;
}

TEST(AuthorList, IsBounded) {
  std::string text = "a@b.example";
  for (int i = 1; i < 1000; ++i) text += ",a@b.example";
  EXPECT_TRUE(parse_author_list(text, {}));
  EXPECT_EQ(read_authors(text + ",a@b.example"), "! too many mailboxes");
}

TEST(CountMailboxes, CountsAtLeastWhatAReaderFinds) {
  const std::pair<std::string, std::size_t> cases[] = {
      {"", 0},
      {" ", 0},
      {"undisclosed-recipients:;", 0},
      {"undisclosed-recipients: ;", 0},
      {"a@b", 1},
      {"a@b, c@d", 2},
      {"A <a@b>, \"C, D\" <c@d>,e@f", 3},
      {"Group: a@b, c@d;, e@f", 3},
      {"Team: A <a@b>; Other: B <b@c>;", 2},
      {"a@b (x, y@z)", 1},
      {"a@b, , c@d,", 2},
      {"a@b c@d <e@f>", 2},
      {"a@b; c@d", 2},
      {"root, postmaster", 2},
      {"x@[IPv6:2001:db8::1], y@z", 2},
      {"\"a, b@c, d@e", 2},
      {"<a@b, c@d, e@f", 3},
      {"(a@b, c@d", 2},
      {"\"a\\\"b, c\" <a@b>, d@e", 2},
      {"<@r,@s:a@b>, c@d", 2},
  };
  for (const auto& [text, count] : cases) {
    const ExactBuffer exact(text);
    EXPECT_EQ(count_mailboxes(exact.view()), count) << text;
  }
}

TEST(EncodedWord, IsDecodedAsACarelessReaderWould) {
  const std::pair<std::string, std::string> cases[] = {
      {"plain", "plain"},
      {"=?utf-8?q?a_b=3d?= x", "a b= x"},
      {"=?utf-8*de?Q?a?=", "a"},
      {"=?utf-8?Q?with blank?=", "with blank"},
      {"x=?utf-8?B?YWI=?=y", "xaby"},
      {"=?utf-8?B?YWI?=", "ab"},
      {"=?utf-8?Q?a?= \t=?utf-8?Q?b?= c =?utf-8?Q?d?= ", "ab c d "},
      {"=?utf-8?B?Y WI?=", "ab"},
      {"=?utf-8?X?abc?=", "=?utf-8?X?abc?="},
      {"=?utf-8?Q?unfinished", "=?utf-8?Q?unfinished"},
      {"=?utf-8", "=?utf-8"},
      {"=?utf-8?Q?a?= =?utf-8?Q?b", "a =?utf-8?Q?b"},
      {"=?utf-8?Q?=", "=?utf-8?Q?="},
      {"=?a?=?utf-8?Q?b?=", "=?a?b"},
      {"=?=?utf-8?Q?b?=", "=?b"},
      {"=?utf-8?Q?=4?=", "=4"},
      {"=?utf-8?Q?=zz?=", "=zz"},
      {"=?iso-2022-jp?Q?a=1B$B<>=1B(Bb?=", "a??b"},
      {"=?iso-2022-jp?Q?a=1B?=", "a\x1b"},
  };
  for (const auto& [text, decoded] : cases) {
    const ExactBuffer exact(text);
    const auto got = decode_encoded_words(exact.view());
    ASSERT_TRUE(got) << text;
    EXPECT_EQ(*got, decoded) << text;
  }
}

}  // namespace
}  // namespace portcullis::smtp
