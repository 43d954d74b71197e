#include "policy/address_space.h"

#include <gtest/gtest.h>

namespace portcullis::policy {
namespace {

std::vector<IpNetwork> networks(const std::vector<std::string>& texts) {
  std::vector<IpNetwork> parsed;
  for (const std::string& text : texts) parsed.push_back(parse_network(text).value());
  return parsed;
}

TEST(AddressSpace, CountsWhatStrangersCanHave) {
  struct Case {
    std::vector<std::string> networks;
    double v4, v6;
  };
  const std::vector<Case> cases = {
      {{}, 0, 0},
      {{"81.2.3.4"}, 1, 0},
      {{"81.2.3.0/24"}, 256, 0},
      {{"81.2.3.0/24", "81.2.3.0/24", "81.2.3.128/25", "81.2.3.4"}, 256, 0},  // once
      {{"81.2.2.0/24", "81.2.3.0/24"}, 512, 0},
      {{"81.2.0.0/16", "81.2.3.0/24", "81.3.0.0/24"}, 65536 + 256, 0},
      {{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"},
       0,
       0},
      {{"10.1.2.0/24", "192.0.2.1", "224.0.0.0/4", "240.0.0.0/4"}, 0, 0},
      {{"10.0.0.0/7"}, 16777216, 0},  // 11.0.0.0/8
      {{"192.168.0.0/15"}, 65536, 0},
      {{"fc00::/7", "fe80::/10", "::1", "2001:db8::/32", "ff02::/16"}, 0, 0},
      {{"2a00:1450::/32"}, 0, 4294967296.0},
      {{"2a00:1450:0:1::/64", "2a00:1450:0:1::1", "2a00:1450:0:1::2"}, 0, 1},
      {{"2a00:1450:0:1::1", "2a00:1450:0:1::2"}, 0, 2},
      {{"2002:5102:304::/48"}, 1, 65536},         // 6to4 of 81.2.3.4
      {{"2002:a00::/24"}, 0, 1099511627776.0},    // of 10.0.0.0/8
      {{"64:ff9b::5102:304"}, 1, 1},              // NAT64 of 81.2.3.4
      {{"64:ff9b::5102:304", "81.2.3.4"}, 1, 1},  // the same one
      {{"::ffff:81.2.3.0/120"}, 256, 0},
  };
  for (const Case& c : cases) {
    const PublicSpace space = public_space(networks(c.networks));
    const std::string first = c.networks.empty() ? "" : c.networks.front();
    EXPECT_EQ(space.v4_addresses, c.v4) << first;
    EXPECT_EQ(space.v6_links, c.v6) << first;
  }
}

TEST(AddressSpace, AllOfItHoweverItIsCut) {
  const double all = public_space(networks({"0.0.0.0/0"})).v4_addresses;
  EXPECT_GT(all, 3.6e9);
  std::vector<IpNetwork> eighths;
  for (int i = 0; i < 256; ++i) eighths.push_back(parse_network(std::to_string(i) + ".0.0.0/8").value());
  EXPECT_EQ(public_space(eighths).v4_addresses, all);
  EXPECT_EQ(public_space(networks({"128.0.0.0/1", "0.0.0.0/1"})).v4_addresses, all);
  EXPECT_EQ(public_space(networks({"::/0"})).v4_addresses, all) << "6to4 and NAT64 are in it";
  EXPECT_EQ(public_space(networks({"2002::/16"})).v4_addresses, all);
  EXPECT_GT(public_space(networks({"::/1"})).v6_links, 2e18);
  EXPECT_GT(public_space(networks({"2000::/3"})).v6_links, 2e18);
}

TEST(AddressSpace, InWords) {
  EXPECT_EQ(in_words(public_space(networks({"10.0.0.0/8"}))), "no public address");
  EXPECT_EQ(in_words(public_space(networks({"81.2.3.4"}))), "1 public IPv4 address");
  EXPECT_EQ(in_words(public_space(networks({"81.2.0.0/16"}))), "65536 public IPv4 addresses (a /16)");
  EXPECT_EQ(in_words(public_space(networks({"81.2.0.0/16", "2a00::/48"}))),
            "65536 public IPv4 addresses (a /16) and a /48 of public IPv6 addresses");
}

}  // namespace
}  // namespace portcullis::policy
