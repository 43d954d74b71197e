#include "policy/address_space.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace portcullis::policy {
namespace {

constexpr std::uint8_t link_bits = 64;

// IANA's special-purpose registries (RFC 6890): never the source of a connection from the Internet.
constexpr std::string_view not_public[] = {
    "0.0.0.0/8",       "10.0.0.0/8",     "100.64.0.0/10", "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12",   "192.0.0.0/24",   "192.0.2.0/24",  "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",   "::/128",         "::1/128",
    "2001:db8::/32",   "fc00::/7",       "fe80::/10",     "ff00::/8",
};

bool holds(const IpNetwork& outer, const IpNetwork& inner) {
  return outer.prefix_bits <= inner.prefix_bits && outer.contains(inner.base);
}

double size_of(const IpNetwork& network) {
  const int bits = network.base.v6 ? link_bits : 32;
  return std::ldexp(1.0, bits - std::min<int>(bits, network.prefix_bits));
}

double public_size_of(const IpNetwork& network) {
  static const std::vector<IpNetwork> others = [] {
    std::vector<IpNetwork> parsed;
    for (const std::string_view text : not_public) parsed.push_back(parse_network(text).value());
    return parsed;
  }();
  double size = size_of(network);
  for (const IpNetwork& other : others) {
    if (holds(other, network)) return 0;
    if (holds(network, other) && other.prefix_bits <= link_bits) size -= size_of(other);
  }
  return size;
}

// Where an IPv6 network stands for IPv4 addresses that begin at octet `at`: those.
void add_embedded(const IpNetwork& network, std::string_view prefix, std::size_t at,
                  std::vector<IpNetwork>& out) {
  const IpNetwork all = parse_network(prefix).value();
  IpNetwork v4;
  if (holds(network, all)) {
    v4.prefix_bits = 0;
  } else if (holds(all, network)) {
    v4.prefix_bits = static_cast<std::uint8_t>(std::min(network.prefix_bits - all.prefix_bits, 32));
    std::copy_n(network.base.octets.begin() + static_cast<std::ptrdiff_t>(at), 4, v4.base.octets.begin());
    v4 = network_of(v4.base, v4.prefix_bits, v4.prefix_bits);
  } else {
    return;
  }
  out.push_back(v4);
}

// The networks that no other one holds.
void keep_outermost(std::vector<IpNetwork>& networks) {
  std::ranges::sort(networks, [](const IpNetwork& a, const IpNetwork& b) {
    if (a.base.v6 != b.base.v6) return b.base.v6;
    return a < b;  // by address; of one address the shorter prefix first
  });
  std::vector<IpNetwork> kept;
  for (const IpNetwork& network : networks) {
    if (kept.empty() || !holds(kept.back(), network)) kept.push_back(network);
  }
  networks = std::move(kept);
}

// The longest prefix that holds so many.
int prefix_of(double count, int bits) {
  return bits - static_cast<int>(std::ceil(std::log2(std::max(count, 1.0))));
}

}  // namespace

PublicSpace public_space(std::vector<IpNetwork> networks) {
  for (std::size_t i = 0, given = networks.size(); i < given; ++i) {
    if (!networks[i].base.v6) continue;
    const IpNetwork network = networks[i];
    add_embedded(network, "2002::/16", 2, networks);
    add_embedded(network, "64:ff9b::/96", 12, networks);
  }
  keep_outermost(networks);
  PublicSpace space;
  for (const IpNetwork& network : networks) {
    (network.base.v6 ? space.v6_links : space.v4_addresses) += public_size_of(network);
  }
  return space;
}

std::string in_words(const PublicSpace& space) {
  std::string words;
  if (space.v4_addresses > 0) {
    words = std::to_string(static_cast<std::uint64_t>(space.v4_addresses)) + " public IPv4 address" +
            (space.v4_addresses > 1 ? "es" : "");
    if (space.v4_addresses > 1) words += " (a /" + std::to_string(prefix_of(space.v4_addresses, 32)) + ')';
  }
  if (space.v6_links > 0) {
    if (!words.empty()) words += " and ";
    words += "a /" + std::to_string(prefix_of(space.v6_links, link_bits)) + " of public IPv6 addresses";
  }
  return words.empty() ? "no public address" : words;
}

}  // namespace portcullis::policy
