#include "policy/ip.h"

#include <gtest/gtest.h>

namespace portcullis::policy {
namespace {

TEST(Ip, ParsesAndWritesCanonically) {
  struct Case {
    std::string_view in, out, literal;
  };
  for (const auto& [in, out, literal] : {
           Case{"192.0.2.1", "192.0.2.1", "192.0.2.1"},
           Case{"2001:DB8:0::1", "2001:db8::1", "IPv6:2001:db8::1"},
           Case{"::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"},
           Case{"::FFFF:c000:0201", "192.0.2.1", "192.0.2.1"},
           Case{"::", "::", "IPv6:::"},
       }) {
    const auto address = parse_ip(in);
    ASSERT_TRUE(address) << in;
    EXPECT_EQ(to_string(*address), out);
    EXPECT_EQ(to_literal(*address), literal);
  }
}

TEST(Ip, RefusesWhatIsNotOneAddress) {
  for (const std::string_view bad :
       {std::string_view(""), std::string_view("192.0.2"), std::string_view("192.0.2.256"),
        std::string_view("192.0.2.01"), std::string_view("fe80::1%eth0"), std::string_view("[::1]"),
        std::string_view("192.0.2.1 "), std::string_view("192.0.2.1\0", 10), std::string_view("::1::"),
        std::string_view("0xc0.0.2.1"),
        std::string_view("1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bb")}) {
    EXPECT_FALSE(parse_ip(bad)) << bad;
  }
}

TEST(Ip, NetworksContainTheirAddressesOnly) {
  struct Case {
    std::string_view network, inside, outside;
  };
  for (const auto& [text, inside, outside] : {
           Case{"192.0.2.0/24", "192.0.2.255", "192.0.3.0"},
           Case{"192.0.2.128/25", "192.0.2.128", "192.0.2.127"},
           Case{"192.0.2.7", "192.0.2.7", "192.0.2.8"},
           Case{"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"},
           Case{"0.0.0.0/0", "255.255.255.255", "::1"},
           Case{"::/0", "2001:db8::1", "192.0.2.1"},
           Case{"::ffff:192.0.2.0/120", "192.0.2.9", "192.0.3.9"},
       }) {
    const auto network = parse_network(text);
    ASSERT_TRUE(network) << text;
    EXPECT_TRUE(network->contains(*parse_ip(inside))) << text;
    EXPECT_FALSE(network->contains(*parse_ip(outside))) << text;
  }
}

TEST(Ip, RefusesBadNetworks) {
  for (const std::string_view bad :
       {"192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1", "192.0.2.0/2x", "/24", "2001:db8::1/64",
        "::/129", "::ffff:192.0.2.0/24", "192.0.2.0/24/24"}) {
    EXPECT_FALSE(parse_network(bad)) << bad;
  }
}

TEST(Ip, NetworkOfMasksTheHostBits) {
  EXPECT_EQ(to_string(network_of(*parse_ip("192.0.2.77"), 24, 64)), "192.0.2.0/24");
  EXPECT_EQ(to_string(network_of(*parse_ip("2001:db8:1:2:3:4:5:6"), 32, 64)), "2001:db8:1:2::/64");
  EXPECT_EQ(to_string(network_of(*parse_ip("192.0.2.77"), 200, 200)), "192.0.2.77/32");
}

}  // namespace
}  // namespace portcullis::policy
