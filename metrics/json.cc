#include "metrics/json.h"

#include <cmath>
#include <string>

#include "metrics/plain_octets.h"

namespace portcullis::metrics {
namespace {

constexpr std::string_view hex = "0123456789abcdef";

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
// Beyond ASCII, what a terminal or reader obeys or does not show: C1 controls, soft hyphen, grapheme
// joiner, Arabic letter mark, Hangul and Mongolian fillers, Khmer vowels that are never written, zero-width
// and bidi marks, line and paragraph separators, bidi embeddings and isolates, invisible operators, variation
// selectors, BOM, interlinear annotation, hieroglyph, shorthand and musical format controls, tags.
constexpr Range hidden[] = {
    {0x80, 0x9f},       {0xad, 0xad},       {0x34f, 0x34f},     {0x61c, 0x61c},     {0x115f, 0x1160},
    {0x17b4, 0x17b5},   {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},
    {0x3164, 0x3164},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb},
    {0x13430, 0x1345f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

bool is_hidden(char32_t code_point) {
  for (const auto& [first, last] : hidden)
    if (code_point >= first && code_point <= last) return true;
  return false;
}

char* write_unit(char* at, unsigned unit) {
  *at++ = '\\';
  *at++ = 'u';
  for (const unsigned shift : {12U, 8U, 4U, 0U}) *at++ = hex[unit >> shift & 15];
  return at;
}

char* write_code_point(char* at, char32_t code_point) {
  if (code_point < 0x10000) return write_unit(at, static_cast<unsigned>(code_point));
  const auto rest = static_cast<unsigned>(code_point - 0x10000);
  return write_unit(write_unit(at, 0xd800 + (rest >> 10)), 0xdc00 + (rest & 0x3ff));
}

char* write(char* at, std::string_view text) {
  for (const char c : text) *at++ = c;
  return at;
}

char* write_ascii(char* at, char c) {
  switch (c) {
    case '"':
      return write(at, "\\\"");
    case '\\':
      return write(at, "\\\\");
    case '\t':
      return write(at, "\\t");
    case '\n':
      return write(at, "\\n");
    case '\r':
      return write(at, "\\r");
    default:
      return write_unit(at, static_cast<unsigned char>(c));
  }
}

constexpr std::size_t character_octets_max = 12;  // two units of UTF-16, escaped

// Writes the first character of `value`, which is not plain, and takes it away.
char* write_character(char* at, std::string_view& value) {
  if (static_cast<unsigned char>(value[0]) < 0x80) {
    at = write_ascii(at, value[0]);
    value.remove_prefix(1);
    return at;
  }
  const Decoded next = decode(value);
  if (!next.valid) {
    at = write(at, "\xef\xbf\xbd");
  } else if (is_hidden(next.code_point)) {
    at = write_code_point(at, next.code_point);
  } else {
    at = write(at, value.substr(0, next.octets));
  }
  value.remove_prefix(next.octets);
  return at;
}

// At most octets_max octets, without cutting a character in two.
std::string_view cut(std::string_view value, std::size_t octets_max) {
  std::size_t end = octets_max;
  for (int i = 0; i < 3 && end > 0 && (static_cast<unsigned char>(value[end]) & 0xc0U) == 0x80; ++i) --end;
  return value.substr(0, end);
}

}  // namespace

void append_json_string(TextBuffer& out, std::string_view value, std::size_t octets_max) {
  bool is_cut = false;
  out.append('"');
  const std::size_t begin = out.size();
  for (;;) {
    // What is written counts, not what is given: a control character becomes six octets.
    const std::size_t written = out.size() - begin;
    const std::size_t left = written < octets_max ? octets_max - written : 0;
    if (value.size() > left) {
      is_cut = true;
      value = cut(value, left);
    }
    char* const at = out.room(value.size() + plain_block_octets);
    const std::size_t plain = copy_plain(at, value);
    out.end_at(at + plain);
    value.remove_prefix(plain);
    if (value.empty()) break;
    out.end_at(write_character(out.room(character_octets_max), value));
  }
  out.append(is_cut ? "\xe2\x80\xa6\"" : "\"");
}

void JsonObject::write_text(const JsonKey& key, std::string_view value) {
  // Nearly always there is room, and the value is short and plain. What is not begins anew the long way.
  const std::size_t octets = JsonKey::piece_octets + value.size() + plain_block_octets;
  if (value.size() <= value_octets_max && out_.has_room(octets)) [[likely]] {
    char* const at = key.before_text(out_.end());
    if (copy_plain(at, value) == value.size()) [[likely]] {
      at[value.size()] = '"';
      return out_.end_at(at + value.size() + 1);
    }
  }
  write_any_text(key, value);
}

void JsonObject::write_text(const JsonKey& key, std::string_view front, std::string_view back) {
  const std::size_t octets = front.size() + 1 + back.size();
  if (octets <= value_octets_max && out_.has_room(JsonKey::piece_octets + octets + plain_block_octets))
      [[likely]] {
    char* const at = key.before_text(out_.end());
    char* const blank = at + front.size();
    char* const end = at + octets;
    if (copy_plain(at, front) == front.size() && copy_plain(blank + 1, back) == back.size()) [[likely]] {
      *blank = ' ';
      *end = '"';
      return out_.end_at(end + 1);
    }
  }
  write_any_text(key, std::string(front).append(" ").append(back));
}

void JsonObject::write_any_text(const JsonKey& key, std::string_view value) {
  out_.end_at(key.before_value(out_.room(JsonKey::piece_octets)));
  append_json_string(out_, value, value_octets_max);
}

void JsonObject::write_seconds(const JsonKey& key, double value) {
  const auto microseconds = static_cast<std::uint64_t>(std::llround(value * 1e6));
  const auto fraction = static_cast<unsigned>(microseconds % 1000000);
  char* at = key.before_value(out_.room(JsonKey::piece_octets + decimal_octets_max + sizeof ".000000"));
  at = write_decimal(at, microseconds / 1000000);
  *at++ = '.';
  at = write_two_digits(at, fraction / 10000);
  at = write_two_digits(at, fraction / 100 % 100);
  out_.end_at(write_two_digits(at, fraction % 100));
}

void JsonObject::pair(std::string_view key, std::string_view value) {
  out_.append(',');
  append_json_string(out_, key, value_octets_max);
  out_.append(':');
  append_json_string(out_, value, value_octets_max);
}

void JsonObject::close() {
  if (out_.size() == begin_) {
    out_.append('{');
  } else {
    out_.put(begin_, '{');
  }
  out_.append('}');
}

}  // namespace portcullis::metrics
