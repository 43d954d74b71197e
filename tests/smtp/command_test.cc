#include "smtp/command.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "tests/smtp/segments.h"

namespace portcullis::smtp {

static std::ostream& operator<<(std::ostream& out, Verb verb) { return out << name_of(verb); }

namespace {

using test::ExactBuffer;

TEST(ParseCommand, Table) {
  struct Case {
    std::string line;
    Verb verb;
    std::string argument;
  };
  const Case cases[] = {
      {"EHLO client.example", Verb::ehlo, "client.example"},
      {"helo x", Verb::helo, "x"},
      {"StartTls", Verb::starttls, ""},
      {"AUTH PLAIN AGEAYg==", Verb::auth, "PLAIN AGEAYg=="},
      {"MAIL FROM:<a@example.com> SIZE=3", Verb::mail, "FROM:<a@example.com> SIZE=3"},
      {"rcpt to:<a@example.com>  ", Verb::rcpt, "to:<a@example.com>"},
      {"DATA", Verb::data, ""},
      {"DATA \t", Verb::data, ""},
      {"BDAT 10 LAST", Verb::bdat, "10 LAST"},
      {"RSET", Verb::rset, ""},
      {"NOOP  two blanks", Verb::noop, "two blanks"},
      {"MAIL  FROM:<a@b.example>", Verb::mail, "FROM:<a@b.example>"},
      {"EHLO \t x", Verb::ehlo, "x"},
      {"VRFY a", Verb::vrfy, "a"},
      {"EXPN a", Verb::expn, "a"},
      {"HELP", Verb::help, ""},
      {"QUIT", Verb::quit, ""},
      {"XCLIENT NAME=a", Verb::xclient, "NAME=a"},
      {"XFORWARD NAME=a", Verb::xforward, "NAME=a"},
      {"GET / HTTP/1.1", Verb::http, "/ HTTP/1.1"},
      {"POST /x HTTP/1.0", Verb::http, "/x HTTP/1.0"},
      {"CONNECT mx:25 HTTP/1.1", Verb::http, "mx:25 HTTP/1.1"},
      {"OPTIONS * HTTP/1.1", Verb::http, "* HTTP/1.1"},
      {"DELETE / HTTP/1.1", Verb::http, "/ HTTP/1.1"},
      {"host: mx.example.com:25", Verb::http, "mx.example.com:25"},
      {"User-Agent:curl", Verb::http, ""},
      {"GET", Verb::unknown, ""},
      {"GETTER x", Verb::unknown, "x"},
      {"", Verb::unknown, ""},
      {" ", Verb::unknown, ""},
      {" QUIT", Verb::unknown, "QUIT"},
      {"QUIT\t", Verb::unknown, ""},
      {"MAIL\tFROM:<>", Verb::unknown, ""},
      {"QUITX", Verb::unknown, ""},
      {"QUI", Verb::unknown, ""},
      {"XFORWARDX a", Verb::unknown, "a"},
      {"\xd1UIT", Verb::unknown, ""},
      {"HTTP", Verb::unknown, ""},
      {"other", Verb::unknown, ""},
  };
  for (const Case& c : cases) {
    const ExactBuffer line(c.line);
    const Command command = parse_command(line.view());
    EXPECT_EQ(command.verb, c.verb) << c.line;
    EXPECT_EQ(command.argument, c.argument) << c.line;
  }
}

TEST(ParseCommand, EveryVerbIsKnownByItsName) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(Verb::http); ++i) {
    const auto verb = static_cast<Verb>(i);
    EXPECT_EQ(parse_command(name_of(verb)).verb, verb);
  }
  EXPECT_EQ(name_of(Verb::http), "HTTP");
  EXPECT_EQ(name_of(Verb::unknown), "other");
}

TEST(HeloText, IsFitForAReceivedField) {
  const std::pair<std::string, std::string> cases[] = {
      {"mx.example.com", "mx.example.com"},
      {"[192.0.2.1]", "[192.0.2.1]"},
      {"[fe80::1%eth0]", "[fe80::1%eth0]"},
      {"B\xc3\xbcro PC", "B??ro?PC"},
      {"(none)", "?none?"},
      {"<host>", "?host?"},
      {"[192.0.2.1", "?192.0.2.1"},
      {"a;b\"c\\d,e@f", "a?b?c?d?e?f"},
      {"a\x01\x7f\t", "a???"},
      {std::string(300, 'a'), std::string(255, 'a')},
  };
  for (const auto& [argument, text] : cases) {
    EXPECT_EQ(helo_text(ExactBuffer(argument).view()), text) << argument;
    EXPECT_TRUE(is_valid_helo(text)) << argument;
  }
}

TEST(IsValidHelo, Table) {
  const std::string good[] = {
      "mx.example.com", "localhost",      "WIN_PC-07", "[192.0.2.1]", "[IPv6:2001:db8::1]",  "192.0.2.1",
      "2001:db8::1",    "a.example.com.", "-x",        "*",           std::string(255, 'a'),
  };
  for (const std::string& argument : good) {
    EXPECT_TRUE(is_valid_helo(ExactBuffer(argument).view())) << argument;
  }
  const std::string bad[] = {
      "",
      " ",
      "a b",
      "a\tb",
      "a\x7f",
      "a\x01",
      "\xc3\xa9.example",
      std::string(256, 'a'),
      "[",
      "[]",
      "a]",
      "[a",
      "[[a]]",
      "a[b]c",
      "a(b",
      "a)b",
      "<a>",
      "a@b",
      "a,b",
      "a;b",
      "a\"b",
      "a\\b",
  };
  for (const std::string& argument : bad) {
    EXPECT_FALSE(is_valid_helo(ExactBuffer(argument).view())) << argument;
  }
}

}  // namespace
}  // namespace portcullis::smtp
