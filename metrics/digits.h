// Digits of numbers: those of a fixed width, as dates and fractions have them, and counts, most of which are
// small.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace portcullis::metrics {

inline constexpr auto digit_pairs = [] {
  std::array<char, 200> pairs{};
  for (std::size_t i = 0; i < 100; ++i) {
    pairs[i * 2] = static_cast<char>('0' + i / 10);
    pairs[i * 2 + 1] = static_cast<char>('0' + i % 10);
  }
  return pairs;
}();

// 0 to 99 as two digits; returns where they end.
inline char* write_two_digits(char* at, unsigned value) {
  std::memcpy(at, digit_pairs.data() + std::size_t{value} * 2, 2);
  return at + 2;
}

// 0 to 9.
inline char* write_digit(char* at, unsigned value) {
  *at = static_cast<char>('0' + value);
  return at + 1;
}

inline constexpr std::size_t decimal_octets_max = 20;

// As few digits as it takes; returns where they end.
char* write_decimal(char* at, std::uint64_t value);

}  // namespace portcullis::metrics
