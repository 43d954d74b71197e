// Whether two sockets could not both listen: the same port of the same address, or of a wildcard ("0.0.0.0",
// "[::]") that has the other's address in it. IPv6 sockets are IPv6 alone (IPV6_V6ONLY).
#pragma once

#include "proxy/config/config.h"

namespace portcullis::config {

inline bool is_wildcard(const policy::IpAddress& address) {
  return address == policy::IpAddress{.octets = {}, .v6 = address.v6};
}

inline bool overlap(const Socket& a, const Socket& b) {
  if (a.port == 0 || a.port != b.port || a.address.v6 != b.address.v6) return false;  // 0: any free port
  return a.address == b.address || is_wildcard(a.address) || is_wildcard(b.address);
}

}  // namespace portcullis::config
