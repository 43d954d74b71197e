// Finds the configured networks a client address is in: one hash look-up per distinct prefix length.
#pragma once

#include <unordered_map>
#include <vector>

#include "policy/hash.h"
#include "policy/settings.h"

namespace portcullis::policy {

class NetworkIndex {
 public:
  explicit NetworkIndex(const std::vector<Network>& networks);

  // Calls `visit(index into Settings::networks)` for each network that contains `address`; a network
  // that lists overlapping ranges may be visited twice.
  template <typename Visit>
  void visit(const IpAddress& address, Visit&& visit) const {
    for (const Length& length : lengths_) {
      if (length.v6 != address.v6) continue;
      const auto found = by_range_.find(network_of(address, length.bits, length.bits));
      if (found == by_range_.end()) continue;
      for (const std::uint16_t network : found->second) visit(network);
    }
  }

 private:
  struct Length {
    bool v6 = false;
    std::uint8_t bits = 0;
    bool operator==(const Length&) const = default;
  };
  struct Hash {
    std::size_t operator()(const IpNetwork& network) const { return keyed_hash(network); }
  };
  std::vector<Length> lengths_;
  std::unordered_map<IpNetwork, std::vector<std::uint16_t>, Hash> by_range_;
};

}  // namespace portcullis::policy
