// The inner loop of everything that writes JSON strings: copies up to the first octet that can not stand in
// one as it is, and shows its place. 16 octets at once with SSE2 where the compiler has it, one by one
// elsewhere; both do the same.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace portcullis::metrics {

// Octets that need no thought: printable ASCII but for the quote and the backslash.
inline constexpr auto plain_octets = [] {
  std::array<bool, 256> table{};
  for (unsigned octet = 0x20; octet < 0x7f; ++octet) table[octet] = octet != '"' && octet != '\\';
  return table;
}();

// What may be written behind the octets that are copied: the last block goes out whole.
inline constexpr std::size_t plain_block_octets = 16;

inline std::size_t copy_plain_portable(char* to, std::string_view from) {
  std::size_t at = 0;
  for (; at < from.size() && plain_octets[static_cast<unsigned char>(from[at])]; ++at) to[at] = from[at];
  return at;
}

#ifdef __SSE2__
// Bit i is set when octet i of the block is not plain. Compared with their sign, octets from 0x80 on are less
// than a blank, as the control characters are.
inline unsigned odd_octets(__m128i block) {
  const __m128i below_blank = _mm_cmplt_epi8(block, _mm_set1_epi8(' '));
  const __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
  const __m128i backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
  const __m128i del = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x7f));
  const __m128i odd = _mm_or_si128(_mm_or_si128(below_blank, quote), _mm_or_si128(backslash, del));
  return static_cast<unsigned>(_mm_movemask_epi8(odd));
}

template <typename Word>
std::uint64_t load_word(const char* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// A block of the 1 to 15 octets at `from`, zeros after them. No octet behind them is read: where two loads
// overlap, both bring the same octets to the same place.
inline __m128i part_of_block(const char* from, std::size_t size) {
  std::uint64_t low = 0, high = 0;
  if (size >= 8) {
    low = load_word<std::uint64_t>(from);
    high = load_word<std::uint64_t>(from + size - 8) >> 8 >> 8 * (15 - size);
  } else if (size >= 4) {
    low = load_word<std::uint32_t>(from) | load_word<std::uint32_t>(from + size - 4) << 8 * (size - 4);
  } else {
    low = load_word<std::uint8_t>(from) | load_word<std::uint8_t>(from + size / 2) << 8 * (size / 2) |
          load_word<std::uint8_t>(from + size - 1) << 8 * (size - 1);
  }
  return _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
}

// Copies the plain octets at the front of `from`; returns how many. `to` has room for all of `from` and
// plain_block_octets more.
inline std::size_t copy_plain(char* to, std::string_view from) {
  std::size_t at = 0;
  for (; from.size() - at >= plain_block_octets; at += plain_block_octets) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from.data() + at));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + at), block);
    const unsigned odd = odd_octets(block);
    if (odd != 0) [[unlikely]]
      return at + static_cast<std::size_t>(std::countr_zero(odd));
  }
  const std::size_t rest = from.size() - at;
  if (rest == 0) return at;
  if (at > 0) {  // the last 16 once more with what is new: the first of them are known to be plain
    at = from.size() - plain_block_octets;
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from.data() + at));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + at), block);
    const unsigned odd = odd_octets(block);
    return odd == 0 ? from.size() : at + static_cast<std::size_t>(std::countr_zero(odd));
  }
  const __m128i block = part_of_block(from.data() + at, rest);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + at), block);
  // The zeros after the text are odd: where it ends, at the latest, the copying does.
  return at + static_cast<std::size_t>(std::countr_zero(odd_octets(block)));
}
#else
inline std::size_t copy_plain(char* to, std::string_view from) { return copy_plain_portable(to, from); }
#endif

}  // namespace portcullis::metrics
