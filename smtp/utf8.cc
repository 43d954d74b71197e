#include "smtp/utf8.h"

#include <algorithm>

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

struct Range {
  char32_t first, last;
};
// Soft hyphen, grapheme joiner, Arabic letter mark, Hangul and Mongolian fillers, Khmer vowels that are never
// written, zero-width and bidi marks, separators, bidi embeddings and isolates, invisible operators,
// variation selectors, BOM, interlinear annotation, hieroglyph, shorthand and musical format controls, tags.
constexpr Range hidden[] = {
    {0xad, 0xad},       {0x34f, 0x34f},     {0x61c, 0x61c},     {0x115f, 0x1160}, {0x17b4, 0x17b5},
    {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f}, {0x3164, 0x3164},
    {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb}, {0x13430, 0x1345f},
    {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
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

std::size_t utf8_visible_octets(std::string_view text) {
  const std::size_t octets = utf8_printable_octets(text);
  if (octets < 2) return octets;
  const char32_t point = utf8_code_point(text.substr(0, octets));
  const auto holds = [&](Range r) { return point >= r.first && point <= r.last; };
  return std::ranges::any_of(hidden, holds) ? 0 : octets;
}

char32_t utf8_code_point(std::string_view sequence) {
  if (sequence.size() == 1) return octet(sequence, 0);
  char32_t point = octet(sequence, 0) & (0xffU >> (sequence.size() + 1));
  for (std::size_t i = 1; i < sequence.size(); ++i) point = point << 6 | (octet(sequence, i) & 0x3fU);
  return point;
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
