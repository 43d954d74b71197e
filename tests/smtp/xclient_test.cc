#include "smtp/xclient.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/smtp/segments.h"

namespace portcullis::smtp {
namespace {

using test::ExactBuffer;

TEST(XClient, ReadsAllOfThem) {
  const auto told = parse_xclient(
      ExactBuffer(
          "NAME=host.example addr=203.0.113.7 PORT=4711 PROTO=ESMTP HELO=a+2Bb LOGIN=alice@example.com")
          .view());
  ASSERT_TRUE(told.has_value()) << told.error();
  EXPECT_EQ(told->name, "host.example");
  EXPECT_EQ(told->addr, "203.0.113.7");
  EXPECT_EQ(told->port, 4711);
  EXPECT_EQ(told->proto, "ESMTP");
  EXPECT_EQ(told->helo, "a+b");
  EXPECT_EQ(told->login, "alice@example.com");
}

TEST(XClient, AddressesAndWhatIsNotTold) {
  EXPECT_EQ(parse_xclient("ADDR=IPV6:2001:db8::1")->addr, "2001:db8::1");
  EXPECT_EQ(parse_xclient("ADDR=ipv6:2001:db8::1")->addr, "2001:db8::1");
  const auto nothing =
      parse_xclient("ADDR=[UNAVAILABLE] NAME=[TEMPUNAVAIL] LOGIN=[unavailable] PORT=[UNAVAILABLE]");
  ASSERT_TRUE(nothing.has_value()) << nothing.error();
  EXPECT_EQ(nothing->addr + nothing->name + nothing->login, "");
  EXPECT_FALSE(nothing->port);
  // What nginx sends.
  EXPECT_TRUE(parse_xclient("ADDR=203.0.113.7 LOGIN=alice NAME=[UNAVAILABLE]").has_value());
}

TEST(XForward, SeveralCommandsTellTogether) {
  auto all = parse_xforward("NAME=spike.example ADDR=192.0.2.3 PORT=1234 PROTO=smtp");
  ASSERT_TRUE(all.has_value()) << all.error();
  merge(*all, *parse_xforward("HELO=spike IDENT=4F2A SOURCE=LOCAL PORT=[UNAVAILABLE]"));
  EXPECT_EQ(all->told, xforward_attributes_taken);
  EXPECT_EQ(
      all->name + ' ' + all->addr + ' ' + all->proto + ' ' + all->helo + ' ' + all->ident + ' ' + all->source,
      "spike.example 192.0.2.3 smtp spike 4F2A LOCAL");
  EXPECT_FALSE(all->port) << "taken back";
  merge(*all, *parse_xforward("ADDR=IPv6:2001:db8::1 NAME=[TEMPUNAVAIL]"));
  EXPECT_EQ(all->addr, "2001:db8::1");
  EXPECT_EQ(all->name, "");
  for (const char* bad : {"", "LOGIN=alice", "SOURCE=elsewhere", "IDENT=a+0Ab", "IDENT=a IDENT=b"}) {
    EXPECT_FALSE(parse_xforward(ExactBuffer(bad).view()).has_value()) << bad;
  }
  EXPECT_FALSE(parse_xclient("IDENT=4F2A").has_value());
}

TEST(XClient, RefusesWhatItCanNotTrust) {
  const std::vector<std::string> cases = {
      "",
      " ",
      "ADDR",
      "=1",
      "ADDR=",
      "FOO=1",
      "DESTADDR=192.0.2.1",
      "ADDR=1.2.3.4 ADDR=1.2.3.5",
      "LOGIN=a LOGIN=b",
      "LOGIN=a+0D+0Ab",
      "LOGIN=a+00",
      "HELO=+7F",
      "HELO=+4",
      "HELO=+zz",
      "LOGIN=a=b",
      "PORT=65536",
      "PORT=-1",
      "PORT=25x",
      "PROTO=LMTP",
  };
  for (const std::string& each : cases) {
    EXPECT_FALSE(parse_xclient(ExactBuffer(each).view()).has_value()) << each;
  }
}

}  // namespace
}  // namespace portcullis::smtp
