// Numbers of a fixed width, as dates and fractions have them.
#pragma once

#include <array>
#include <cstddef>
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

}  // namespace portcullis::metrics
