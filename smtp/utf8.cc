#include "smtp/utf8.h"

#include "smtp/ascii.h"

namespace portcullis::smtp {
namespace {

constexpr unsigned octet(std::string_view text, std::size_t i) { return static_cast<unsigned char>(text[i]); }

// A row of RFC 3629 section 4: lead octets, how many octets, and what the second one may be.
struct Form {
  unsigned lead_first, lead_last;
  std::size_t octets;
  unsigned second_first, second_last;
};
constexpr Form forms[] = {
    {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf},
    {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf},
    {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

}  // namespace

std::size_t utf8_sequence_octets(std::string_view text) {
  if (text.empty()) return 0;
  const unsigned lead = octet(text, 0);
  if (lead < 0x80) return 1;
  for (const Form& form : forms) {
    if (lead < form.lead_first || lead > form.lead_last) continue;
    if (text.size() < form.octets) return 0;
    if (octet(text, 1) < form.second_first || octet(text, 1) > form.second_last) return 0;
    for (std::size_t i = 2; i < form.octets; ++i) {
      if (octet(text, i) < 0x80 || octet(text, i) > 0xbf) return 0;
    }
    return form.octets;
  }
  return 0;
}

std::size_t utf8_printable_octets(std::string_view text) {
  const std::size_t octets = utf8_sequence_octets(text);
  if (octets == 1 && is_control(text[0])) return 0;
  if (octets == 2 && octet(text, 0) == 0xc2 && octet(text, 1) < 0xa0) return 0;
  return octets;
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t octets = utf8_sequence_octets(text);
    if (octets == 0) return false;
    text.remove_prefix(octets);
  }
  return true;
}

std::string_view utf8_prefix(std::string_view text, std::size_t max_octets) {
  if (text.size() <= max_octets) return text;
  std::size_t end = max_octets;
  // At most three continuation octets can precede the cut; more is not UTF-8 and may be cut anywhere.
  for (std::size_t back = 0; back < 4 && end > 0; ++back, --end) {
    if ((octet(text, end) & 0xc0U) != 0x80) return text.substr(0, end);
  }
  return text.substr(0, max_octets);
}

}  // namespace portcullis::smtp
