// ASCII as the protocols need it: independent of locale and of the signedness of char.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace portcullis::smtp {

constexpr char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_alpha(char c) { return to_upper(c) >= 'A' && to_upper(c) <= 'Z'; }
constexpr bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
constexpr bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
constexpr bool is_blank(char c) { return c == ' ' || c == '\t'; }  // WSP of RFC 5234
// VCHAR of RFC 5234: printable, no blank.
constexpr bool is_visible(char c) { return c > 0x20 && c < 0x7f; }

// Whether one of `text` is above 127. Branch-free, so that compilers look at many octets at once.
constexpr bool has_eight_bit(std::string_view text) {
  unsigned char all = 0;
  for (const char c : text) all = static_cast<unsigned char>(all | static_cast<unsigned char>(c));
  return all >= 0x80;
}

// Let-dig of RFC 5321 4.1.2, asked for every octet of every domain.
inline constexpr auto alnum_table = [] {
  std::array<bool, 256> table{};
  for (unsigned c = 0; c < 0x80; ++c)
    table[c] = is_digit(static_cast<char>(c)) || is_alpha(static_cast<char>(c));
  return table;
}();
constexpr bool is_alnum(char c) { return alnum_table[static_cast<unsigned char>(c)]; }

// atext of RFC 5322 3.2.3, asked for every octet of every address: a table.
inline constexpr auto atext_table = [] {
  std::array<bool, 256> table{};
  for (unsigned c = 0; c < 0x80; ++c) table[c] = is_alnum(static_cast<char>(c));
  for (const char c : std::string_view("!#$%&'*+-/=?^_`{|}~")) table[static_cast<unsigned char>(c)] = true;
  return table;
}();
constexpr bool is_atext(char c) { return atext_table[static_cast<unsigned char>(c)]; }

// Value of a hexadecimal digit of either case, -1 for anything else.
constexpr int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  const char upper = to_upper(c);
  return upper >= 'A' && upper <= 'F' ? upper - 'A' + 10 : -1;
}

constexpr bool equals_ignoring_case(std::string_view a, std::string_view b) {
  if (a == b) return true;  // nearly always written alike
  return std::ranges::equal(a, b, [](char x, char y) { return to_upper(x) == to_upper(y); });
}

constexpr bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  return equals_ignoring_case(text.substr(0, prefix.size()), prefix);
}

// Takes the token before the next `separator` off the front of `rest`, the separator with it.
constexpr std::string_view next_token(std::string_view& rest, char separator) {
  const std::size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view token = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return token;
}

}  // namespace portcullis::smtp
