#include "metrics/json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace portcullis::metrics {
namespace {

constexpr std::string_view hex = "0123456789abcdef";

// Octets that may be copied as they are.
constexpr auto plain_octets() {
  std::array<bool, 256> table{};
  for (unsigned c = 0x20; c < 0x7f; ++c) table[c] = c != '"' && c != '\\';
  return table;
}
constexpr auto plain = plain_octets();

struct Decoded {
  char32_t code_point = 0xfffd;
  std::size_t octets = 1;  // consumed
  bool valid = false;
};

// One character of UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). Invalid:
// consumes the longest prefix that could have begun a character, as the Unicode standard advises.
Decoded decode(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = at(0);
  std::size_t length = 0;
  unsigned char low = 0x80, high = 0xbf;  // of the second octet
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  } else {
    return {};
  }
  char32_t code_point = lead & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= bytes.size() || at(i) < low || at(i) > high) return {0xfffd, i, false};
    code_point = code_point << 6 | (at(i) & 0x3fU);
    low = 0x80;
    high = 0xbf;
  }
  return {code_point, length, true};
}

struct Range {
  char32_t first, last;
};
// Beyond ASCII, what a terminal or reader obeys or does not show: C1 controls, soft hyphen, Arabic
// letter mark, Hangul and Mongolian fillers, zero-width and bidi marks, line and paragraph
// separators, bidi embeddings and isolates, invisible operators, variation selectors, BOM,
// interlinear annotation, tags.
constexpr Range hidden[] = {
    {0x80, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},     {0x115f, 0x1160},
    {0x180b, 0x180e}, {0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},
    {0x3164, 0x3164}, {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},
    {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

bool is_hidden(char32_t code_point) {
  for (const auto& [first, last] : hidden)
    if (code_point >= first && code_point <= last) return true;
  return false;
}

void append_unit(std::string& out, unsigned unit) {
  const char escape[] = {'\\',          'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15], hex[unit >> 4 & 15],
                         hex[unit & 15]};
  out.append(escape, sizeof escape);
}

void append_escaped(std::string& out, char32_t code_point) {
  if (code_point < 0x10000) return append_unit(out, static_cast<unsigned>(code_point));
  const auto rest = static_cast<unsigned>(code_point - 0x10000);
  append_unit(out, 0xd800 + (rest >> 10));
  append_unit(out, 0xdc00 + (rest & 0x3ff));
}

void append_ascii(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\t':
      out += "\\t";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    default:
      append_unit(out, static_cast<unsigned char>(c));
  }
}

// At most octets_max octets, without cutting a character in two.
std::string_view cut(std::string_view value, std::size_t octets_max) {
  std::size_t end = octets_max;
  for (int i = 0; i < 3 && end > 0 && (static_cast<unsigned char>(value[end]) & 0xc0U) == 0x80; ++i) --end;
  return value.substr(0, end);
}

}  // namespace

void append_json_string(std::string& out, std::string_view value, std::size_t octets_max) {
  const bool is_cut = value.size() > octets_max;
  if (is_cut) value = cut(value, octets_max);
  out += '"';
  while (!value.empty()) {
    std::size_t run = 0;
    while (run < value.size() && plain[static_cast<unsigned char>(value[run])]) ++run;
    out.append(value, 0, run);
    value.remove_prefix(run);
    if (value.empty()) break;
    if (static_cast<unsigned char>(value[0]) < 0x80) {
      append_ascii(out, value[0]);
      value.remove_prefix(1);
      continue;
    }
    const Decoded next = decode(value);
    if (!next.valid) {
      out += "\xef\xbf\xbd";
    } else if (is_hidden(next.code_point)) {
      append_escaped(out, next.code_point);
    } else {
      out.append(value, 0, next.octets);
    }
    value.remove_prefix(next.octets);
  }
  if (is_cut) out += "\xe2\x80\xa6";
  out += '"';
}

void JsonObject::key(std::string_view key) {
  // In one piece: a record has about thirty.
  std::array<char, 64> piece;
  if (key.size() + 4 > piece.size()) key = key.substr(0, piece.size() - 4);  // ours are shorter
  char* at = piece.data();
  if (!first_) *at++ = ',';
  first_ = false;
  *at++ = '"';
  at = std::ranges::copy(key, at).out;
  *at++ = '"';
  *at++ = ':';
  out_.append(piece.data(), at);
}

void JsonObject::text(std::string_view name, std::string_view value) {
  if (value.empty()) return;
  key(name);
  append_json_string(out_, value, value_octets_max);
}

void JsonObject::number(std::string_view name, std::uint64_t value) {
  key(name);
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out_.append(digits, end);
}

void JsonObject::seconds(std::string_view name, double value) {
  if (!std::isfinite(value) || value < 0 || value > 1e9) return;
  const auto microseconds = static_cast<std::uint64_t>(std::llround(value * 1e6));
  number(name, microseconds / 1000000);
  char fraction[] = ".000000";
  auto rest = microseconds % 1000000;
  for (std::size_t i = 6; i > 0; --i, rest /= 10) fraction[i] = static_cast<char>('0' + rest % 10);
  out_.append(fraction, 7);
}

void JsonObject::pair(std::string_view name, std::string_view value) {
  if (!first_) out_ += ',';
  first_ = false;
  append_json_string(out_, name, value_octets_max);
  out_ += ':';
  append_json_string(out_, value, value_octets_max);
}

}  // namespace portcullis::metrics
