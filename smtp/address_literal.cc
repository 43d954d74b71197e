#include "smtp/address_literal.h"

#include <algorithm>
#include <cstddef>

#include "smtp/ascii.h"

namespace portcullis::smtp {
namespace {

// Counts 16-bit groups of colon-separated hexadecimal text, a dotted quad at the very end being
// two; -1 when anything else is in it. Empty text has no group.
int ipv6_groups(std::string_view text, bool may_end_in_ipv4) {
  int groups = 0;
  while (!text.empty()) {
    const bool more = text.find(':') != std::string_view::npos;
    const std::string_view group = next_token(text, ':');
    if (more && text.empty()) return -1;  // ends in a colon
    if (may_end_in_ipv4 && !more && is_valid_ipv4(group)) return groups + 2;
    const bool hex = std::ranges::all_of(group, [](char c) { return hex_value(c) >= 0; });
    if (group.empty() || group.size() > 4 || !hex) return -1;
    ++groups;
  }
  return groups;
}

}  // namespace

bool is_valid_ipv4(std::string_view text) {
  for (int part = 0; part < 4; ++part) {
    const bool more = text.find('.') != std::string_view::npos;
    if (more != (part < 3)) return false;
    const std::string_view number = next_token(text, '.');
    if (number.empty() || number.size() > 3 || !std::ranges::all_of(number, is_digit)) return false;
    if (number.size() > 1 && number[0] == '0') return false;
    if (number.size() == 3 && number > "255") return false;
  }
  return true;
}

bool is_valid_ipv6(std::string_view text) {
  const std::size_t gap = text.find("::");
  if (gap == std::string_view::npos) return ipv6_groups(text, true) == 8;
  const int before = ipv6_groups(text.substr(0, gap), false);
  const int after = ipv6_groups(text.substr(gap + 2), true);
  return before >= 0 && after >= 0 && before + after <= 7;
}

bool is_valid_address_literal(std::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return false;
  const std::string_view inner = text.substr(1, text.size() - 2);
  constexpr std::string_view tag = "IPv6:";
  if (starts_with_ignoring_case(inner, tag)) return is_valid_ipv6(inner.substr(tag.size()));
  return is_valid_ipv4(inner);
}

}  // namespace portcullis::smtp
