#include "proxy/session/received.h"

#include <gtest/gtest.h>

#include <string>

namespace portcullis::session {
namespace {

using std::chrono::seconds;
using std::chrono::system_clock;

TEST(DateTime, IsThatOfRfc5322) {
  const struct {
    std::int64_t unix_seconds;
    std::string_view text;
  } cases[] = {
      {0, "Thu, 01 Jan 1970 00:00:00 +0000"},          {-1, "Wed, 31 Dec 1969 23:59:59 +0000"},
      {951782400, "Tue, 29 Feb 2000 00:00:00 +0000"},  {1795262400, "Sat, 21 Nov 2026 12:00:00 +0000"},
      {4102444799, "Thu, 31 Dec 2099 23:59:59 +0000"}, {1788220805, "Tue, 01 Sep 2026 00:00:05 +0000"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(date_time(system_clock::time_point(seconds(c.unix_seconds))), c.text);
  }
}

// What a client chose goes in with every octet that could mean something replaced, and cut.
TEST(Received, HoldsNothingAClientCouldWriteTheFieldWith) {
  std::string helo;
  for (int octet = 0; octet < 256; ++octet) helo += static_cast<char>(octet);
  std::string expected;
  for (const char c : helo.substr(0, 255)) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       (c != '\0' && std::string_view("._-:@[]+=/&*~!#$%'").contains(c));
    expected += plain ? c : '?';
  }
  std::string out = "before\r\n";
  append_received(out, {.helo = helo,
                        .client_literal = "192.0.2.1",
                        .hostname = "mx.example.com",
                        .tls_version = {},
                        .tls_cipher = {},
                        .login = {},
                        .id = "abc",
                        .recipient = "<a@example.com>",
                        .time = system_clock::time_point(seconds(1795262400))});
  EXPECT_EQ(out, "before\r\nReceived: from " + expected +
                     " ([192.0.2.1])\r\n\tby mx.example.com (Portcullis) with ESMTP id abc\r\n"
                     "\tfor <a@example.com>;\r\n\tSat, 21 Nov 2026 12:00:00 +0000\r\n");
}

}  // namespace
}  // namespace portcullis::session
