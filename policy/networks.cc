#include "policy/networks.h"

#include <algorithm>

namespace portcullis::policy {

NetworkIndex::NetworkIndex(const std::vector<Network>& networks) {
  for (std::size_t i = 0; i < networks.size(); ++i) {
    for (const IpNetwork& range : networks[i].addresses) {
      const Length length{range.base.v6, range.prefix_bits};
      if (std::ranges::find(lengths_, length) == lengths_.end()) lengths_.push_back(length);
      by_range_[range].push_back(static_cast<std::uint16_t>(i));
    }
  }
}

}  // namespace portcullis::policy
