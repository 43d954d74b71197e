// Searches in short text: a command, a reply, a header line. Sixteen octets at once where the compiler has
// SSE2, one by one elsewhere and in text shorter than that. (Message content has octet_scan.h.)
#pragma once

#include <bit>
#include <cstddef>
#include <string_view>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "smtp/ascii.h"

namespace portcullis::smtp {

// What is looked for: one octet at a time, and, as ones in a lane, sixteen.
template <char... Wanted>
struct OneOf {
  static constexpr bool matches(char c) { return ((c == Wanted) || ...); }
#ifdef __SSE2__
  static __m128i matches(__m128i octets) {
    __m128i found = _mm_setzero_si128();
    ((found = _mm_or_si128(found, _mm_cmpeq_epi8(octets, _mm_set1_epi8(Wanted)))), ...);
    return found;
  }
#endif
};

// A control character, DEL included.
struct Control {
  static constexpr bool matches(char c) { return is_control(c); }
#ifdef __SSE2__
  static __m128i matches(__m128i octets) {
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(octets, _mm_set1_epi8(0x1f)), octets);
    return _mm_or_si128(low, _mm_cmpeq_epi8(octets, _mm_set1_epi8(0x7f)));
  }
#endif
};

// Neither a visible ASCII character nor a blank.
struct NotPrintable {
  static constexpr bool matches(char c) { return is_control(c) || !is_ascii(c); }
#ifdef __SSE2__
  static __m128i matches(__m128i octets) {  // as signed numbers, octets above 127 are below zero
    const __m128i low = _mm_cmplt_epi8(octets, _mm_set1_epi8(0x20));
    return _mm_or_si128(low, _mm_cmpeq_epi8(octets, _mm_set1_epi8(0x7f)));
  }
#endif
};

// Not a visible ASCII character.
struct NotVisible {
  static constexpr bool matches(char c) { return !is_visible(c); }
#ifdef __SSE2__
  static __m128i matches(__m128i octets) {
    return _mm_or_si128(NotPrintable::matches(octets), _mm_cmpeq_epi8(octets, _mm_set1_epi8(' ')));
  }
#endif
};

// What one of `Whats` matches.
template <typename... Whats>
struct AnyOf {
  static constexpr bool matches(char c) { return (Whats::matches(c) || ...); }
#ifdef __SSE2__
  static __m128i matches(__m128i octets) {
    __m128i found = _mm_setzero_si128();
    ((found = _mm_or_si128(found, Whats::matches(octets))), ...);
    return found;
  }
#endif
};

// Index of the first octet at or after `from` that `What` matches; the size of `text` when there is none (or
// `from`, where that is beyond it).
template <typename What>
constexpr std::size_t find_octet_portable(std::string_view text, std::size_t from = 0) {
  while (from < text.size() && !What::matches(text[from])) ++from;
  return from;
}

#ifdef __SSE2__
template <typename What>
std::size_t find_octet(std::string_view text, std::size_t from = 0) {
  constexpr std::size_t lane_octets = 16;
  const auto matches_at = [text](std::size_t at) {
    const auto octets = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    return static_cast<unsigned>(_mm_movemask_epi8(What::matches(octets)));
  };
  if (from + lane_octets > text.size()) return find_octet_portable<What>(text, from);
  for (; text.size() - from >= lane_octets; from += lane_octets) {
    if (const unsigned found = matches_at(from); found != 0) {
      return from + static_cast<unsigned>(std::countr_zero(found));
    }
  }
  // The rest, together with octets before it that are known not to match.
  const std::size_t last = text.size() - lane_octets;
  const unsigned found = matches_at(last);
  return found == 0 ? text.size() : last + static_cast<unsigned>(std::countr_zero(found));
}
#else
template <typename What>
std::size_t find_octet(std::string_view text, std::size_t from = 0) {
  return find_octet_portable<What>(text, from);
}
#endif

}  // namespace portcullis::smtp
