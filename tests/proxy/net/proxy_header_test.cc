#include "proxy/net/proxy_header.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "policy/ip.h"

namespace portcullis::net {
namespace {

using Status = ProxyHeader::Status;
using namespace std::string_literals;

const std::string v2 = "\r\n\r\n\0\r\nQUIT\n"s;
const std::string v4_addresses = "\xcb\0\x71\x07\xc0\0\2\1\x12\x67\0\x19"s;
const std::string v6_addresses = "\x20\1\x0d\xb8"s + std::string(11, '\0') + "\1\x20\1\x0d\xb8"s +
                                 std::string(11, '\0') + "\2\x12\x67\0\x19"s;

struct Case {
  std::string bytes;   // the header and nothing behind it
  std::string client;  // empty: none
  std::uint16_t port = 0;
};

// Then a TLS handshake that follows is the balancer's, and so is the certificate in it.
TEST(ProxyHeader, SaysWhereTheTlsOfTheClientEnds) {
  const auto ends_there = [](const std::string& extensions) {
    const auto length = static_cast<char>(12 + extensions.size());
    const ProxyHeader header = parse_proxy_header(v2 + "\x21\x11\0"s + length + v4_addresses + extensions);
    EXPECT_EQ(header.status, Status::complete);
    return header.client.value().tls_ends_at_balancer;
  };
  EXPECT_FALSE(ends_there(""));
  EXPECT_FALSE(ends_there("\4\0\1x"s));
  EXPECT_TRUE(ends_there("\x20\0\5\1\0\0\0\0"s));
  EXPECT_TRUE(ends_there("\4\0\1x\x20\0\5\7\0\0\0\0"s));
  EXPECT_FALSE(ends_there("\x20\0\5\0\0\0\0\0"s)) << "without PP2_CLIENT_SSL";
  EXPECT_FALSE(ends_there("\x20\0\0"s));
  EXPECT_FALSE(ends_there("\4\xff\xffx"s)) << "longer than the header";
}

TEST(ProxyHeader, Complete) {
  const std::vector<Case> cases = {
      {"PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n", "203.0.113.7", 4711},
      {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255", 65535},
      {"PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n", "2001:db8::1", 4711},
      {"PROXY TCP6 ::ffff:203.0.113.7 ::1 4711 25\r\n", "203.0.113.7", 4711},
      {"PROXY UNKNOWN\r\n", ""},
      {"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ""},
      {v2 + "\x21\x11\0\x0c"s + v4_addresses, "203.0.113.7", 0x1267},
      {v2 + "\x21\x21\0\x24"s + v6_addresses, "2001:db8::1", 0x1267},
      {v2 + "\x21\x11\0\x10"s + v4_addresses + "\4\0\1x"s, "203.0.113.7", 0x1267},  // an extension
      {v2 + "\x20\0\0\0"s, ""},                                                     // LOCAL
      {v2 + "\x20\x11\0\x0c"s + v4_addresses, ""},                                  // LOCAL with addresses
      {v2 + "\x21\0\0\0"s, ""},                                                     // UNSPEC
      {v2 + "\x21\x21\0\x24"s + std::string(10, '\0') + "\xff\xff\xcb\0\x71\7"s + std::string(16, '\0') +
           "\x12\x67\0\x19"s,
       "203.0.113.7", 0x1267},  // IPv4 in IPv6
  };
  for (const Case& each : cases) {
    for (const std::string& behind : {""s, "EHLO x\r\n"s, "\x16\3\1"s}) {
      // Exactly the octets there are: reading past them is found by ASan.
      const std::string all = each.bytes + behind;
      const std::vector<char> heap(all.begin(), all.end());
      const ProxyHeader header = parse_proxy_header({heap.data(), heap.size()});
      ASSERT_EQ(header.status, Status::complete) << each.bytes;
      EXPECT_EQ(header.octets, each.bytes.size());
      EXPECT_EQ(header.client ? policy::to_string(header.client->address) : "", each.client);
      EXPECT_EQ(header.client ? header.client->port : 0, each.port);
    }
    for (std::size_t size = 0; size < each.bytes.size(); ++size) {
      const std::vector<char> heap(each.bytes.begin(),
                                   each.bytes.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_EQ(parse_proxy_header({heap.data(), heap.size()}).status, Status::need_more)
          << each.bytes << size;
    }
  }
}

TEST(ProxyHeader, Malformed) {
  const std::vector<std::string> cases = {
      "EHLO x\r\n",
      "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
      "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
      "PROXY TCP4\r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
      "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
      "PROXY TCP4 ::1 ::1 1 2\r\n",
      "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
      "PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
      "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
      "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
      "PROXY TCP4 1.2.3.4/8 1.2.3.4 1 2\r\n",
      "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n" + std::string(107, 'x'),
      "PROXY " + std::string(200, 'x'),
      "PROXY UNKNOWN " + std::string(100, 'x') + "\r\n",
      "\r\n\r\n\r\n",
      v2 + "\x11\x11\0\x0c"s + v4_addresses,           // version 1 of the binary form
      v2 + "\x22\x11\0\x0c"s + v4_addresses,           // no such command
      v2 + "\x21\x12\0\x0c"s + v4_addresses,           // UDP
      v2 + "\x21\x31\0\xd8"s + std::string(216, 'x'),  // local socket
      v2 + "\x21\x11\0\x0b"s + v4_addresses,           // too short for the addresses
      v2 + "\x21\x21\0\x23"s + v6_addresses,
      v2 + "\x21\x11\xff\xff"s + v4_addresses,  // absurd length
  };
  for (const std::string& each : cases) {
    const std::vector<char> heap(each.begin(), each.end());
    const ProxyHeader header = parse_proxy_header({heap.data(), heap.size()});
    EXPECT_EQ(header.status, Status::malformed) << each;
    EXPECT_FALSE(header.client);
  }
}

}  // namespace
}  // namespace portcullis::net
