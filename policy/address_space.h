// How much of the public Internet a set of networks holds: to tell a site's own machines from strangers.
#pragma once

#include <string>
#include <vector>

#include "policy/ip.h"

namespace portcullis::policy {

// Exact while they are powers of two, and near enough else.
struct PublicSpace {
  double v4_addresses = 0;
  double v6_links = 0;  // networks of /64, and at least one for each longer prefix
};

// Of the union: what is listed twice counts once. Addresses that no stranger on the Internet can have do not
// count: private (RFC 1918, 4193), shared (RFC 6598), loopback, link-local, documentation, multicast and
// reserved ones. Those of 6to4 (2002::/16) and NAT64 (64:ff9b::/96) are the IPv4 addresses in them.
PublicSpace public_space(std::vector<IpNetwork> networks);

// "4096 public IPv4 addresses (a /20) and a /48 of public IPv6"; "no public address".
std::string in_words(const PublicSpace& space);

}  // namespace portcullis::policy
