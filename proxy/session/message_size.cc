#include "proxy/session/message_size.h"

#include <algorithm>

#include "smtp/limits.h"

namespace portcullis::session {

std::uint64_t announced_size(std::uint64_t ours, const smtp::Extensions& upstream) {
  const std::uint64_t limit = size_limit(upstream);
  if (limit == 0) return ours;
  // The reserve is generous, as a Received field has 300 octets as a rule. Of a small limit it is a half: the
  // octets that really come are counted exactly.
  const std::uint64_t reserve = std::min<std::uint64_t>(smtp::limits::added_header_octets, limit / 2);
  return std::min(ours, limit - reserve);
}

std::uint64_t forwarded_size(std::uint64_t declared, const smtp::Extensions& upstream) {
  const std::uint64_t whole = declared + smtp::limits::added_header_octets;
  const std::uint64_t limit = size_limit(upstream);
  return limit == 0 ? whole : std::min(whole, std::max(declared, limit));
}

}  // namespace portcullis::session
