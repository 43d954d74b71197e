// The inner loop of everything that passes over message content: looks at 64 octets at once and says
// where the first one is that needs thought. A block of well-formed text (every CR before a LF, every
// LF after a CR, no NUL, no dot at the start of a line) costs a few instructions per 16 octets and no
// branch per line. SSE2 where the compiler has it (AVX2 where the processor has it, for the bulk), plain C++
// elsewhere; all give the same masks.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace portcullis::smtp {

inline constexpr std::size_t scan_block_octets = 64;

// Bit i is set when octet i of the block is the one named.
struct OctetMasks {
  std::uint64_t cr = 0, lf = 0, nul = 0, dot = 0, high = 0;
  bool operator==(const OctetMasks&) const = default;
};

inline OctetMasks octet_masks_portable(const char* block) {
  OctetMasks masks;
  for (std::size_t i = 0; i < scan_block_octets; ++i) {
    const auto bit = std::uint64_t{1} << i;
    const auto octet = static_cast<unsigned char>(block[i]);
    masks.cr |= octet == '\r' ? bit : 0;
    masks.lf |= octet == '\n' ? bit : 0;
    masks.nul |= octet == 0 ? bit : 0;
    masks.dot |= octet == '.' ? bit : 0;
    masks.high |= octet >= 0x80 ? bit : 0;
  }
  return masks;
}

// A block, read when it is made: the octets may be gone when it is asked.
class PortableOctetBlock {
 public:
  explicit PortableOctetBlock(const char* block) : masks_(octet_masks_portable(block)) {
    std::memcpy(block_, block, sizeof block_);
  }
  std::uint64_t equal_to(char octet) const {
    switch (octet) {
      case '\r':
        return masks_.cr;
      case '\n':
        return masks_.lf;
      case '.':
        return masks_.dot;
      case '\0':
        return masks_.nul;
      default:
        break;
    }
    std::uint64_t mask = 0;
    for (std::size_t i = 0; i < scan_block_octets; ++i) {
      mask |= std::uint64_t{block_[i] == octet} << i;
    }
    return mask;
  }
  std::uint64_t high() const { return masks_.high; }
  bool any_nul() const { return masks_.nul != 0; }
  bool any_high() const { return masks_.high != 0; }

 private:
  char block_[scan_block_octets];
  OctetMasks masks_;
};

#ifdef __SSE2__
class OctetBlock {
 public:
  explicit OctetBlock(const char* block) {
    for (std::size_t i = 0; i < 4; ++i) {
      lane_[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + i * 16));
    }
  }
  std::uint64_t equal_to(char octet) const {
    const __m128i wanted = _mm_set1_epi8(octet);
    return join(_mm_cmpeq_epi8(lane_[0], wanted), _mm_cmpeq_epi8(lane_[1], wanted),
                _mm_cmpeq_epi8(lane_[2], wanted), _mm_cmpeq_epi8(lane_[3], wanted));
  }
  std::uint64_t high() const { return join(lane_[0], lane_[1], lane_[2], lane_[3]); }
  bool any_nul() const {
    const __m128i least = _mm_min_epu8(_mm_min_epu8(lane_[0], lane_[1]), _mm_min_epu8(lane_[2], lane_[3]));
    return _mm_movemask_epi8(_mm_cmpeq_epi8(least, _mm_setzero_si128())) != 0;
  }
  bool any_high() const {
    return _mm_movemask_epi8(
               _mm_or_si128(_mm_or_si128(lane_[0], lane_[1]), _mm_or_si128(lane_[2], lane_[3]))) != 0;
  }

 private:
  static std::uint64_t bits(__m128i lane) { return static_cast<std::uint32_t>(_mm_movemask_epi8(lane)); }
  static std::uint64_t join(__m128i a, __m128i b, __m128i c, __m128i d) {
    return bits(a) | bits(b) << 16 | bits(c) << 32 | bits(d) << 48;
  }
  __m128i lane_[4];
};
#else
using OctetBlock = PortableOctetBlock;
#endif

// What has to be known about the octet before the next one.
struct LinePosition {
  bool after_cr = false;    // it was a CR: only LF may follow
  bool line_start = false;  // it was the LF of a CRLF (or there was none yet)
};

// A block that is not whole, filled up with octets nobody looks for.
struct PaddedBlock {
  char octets[scan_block_octets];
  PaddedBlock(const char* text, std::size_t size) {
    std::memset(octets, 'x', sizeof octets);
    std::memcpy(octets, text, std::min(size, sizeof octets));
  }
};

// Passes over as many octets at the start of `text` as can be seen in whole blocks to hold nothing odd;
// returns how many. What is known of the octet before the next one goes in and out.
struct BlockCarry {
  std::uint64_t cr = 0, lf = 0;
  bool high = false;
};
#ifdef __SSE2__
inline const bool wide_blocks = __builtin_cpu_supports("avx2") != 0;

template <bool Dots>
__attribute__((target("avx2"))) std::size_t plain_blocks(const char* text, std::size_t size,
                                                         BlockCarry& carry) {
  // Each octet is judged together with the one before it; the first one's is no longer there.
  if (size <= scan_block_octets || (*text == '\n') != (carry.cr != 0) || *text == '\0' ||
      (Dots && *text == '.' && carry.lf != 0)) {
    return 0;
  }
  const __m256i cr = _mm256_set1_epi8('\r');
  const __m256i lf = _mm256_set1_epi8('\n');
  const __m256i dot = _mm256_set1_epi8('.');
  const auto odd = [&](__m256i octets, const char* from) __attribute__((target("avx2"))) {
    const __m256i before = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from - 1));
    const __m256i line_end = _mm256_xor_si256(_mm256_cmpeq_epi8(octets, lf), _mm256_cmpeq_epi8(before, cr));
    if constexpr (!Dots) return line_end;
    const __m256i line_start =
        _mm256_and_si256(_mm256_cmpeq_epi8(octets, dot), _mm256_cmpeq_epi8(before, lf));
    return _mm256_or_si256(line_end, line_start);
  };
  __m256i all = _mm256_setzero_si256();
  std::size_t at = 1;
  for (; at + scan_block_octets <= size; at += scan_block_octets) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + at));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + at + 32));
    const __m256i nul = _mm256_cmpeq_epi8(_mm256_min_epu8(low, high), _mm256_setzero_si256());
    const __m256i any = _mm256_or_si256(nul, _mm256_or_si256(odd(low, text + at), odd(high, text + at + 32)));
    if (!_mm256_testz_si256(any, any)) [[unlikely]]
      break;
    all = _mm256_or_si256(all, _mm256_or_si256(low, high));
  }
  carry.cr = text[at - 1] == '\r' ? 1 : 0;
  carry.lf = text[at - 1] == '\n' ? 1 : 0;
  carry.high = carry.high || _mm256_movemask_epi8(all) != 0 || static_cast<unsigned char>(*text) >= 0x80;
  return at;
}
#else
inline constexpr bool wide_blocks = false;

template <bool Dots>
std::size_t plain_blocks(const char*, std::size_t, BlockCarry&) {
  return 0;
}
#endif

// Passes over plain content: returns the index of the first octet in `text` that is a NUL, a LF
// without CR before it, anything but LF after a CR, or (when `Dots`) a dot at a line start; `size` when
// there is none. `position` is brought up to that index, `eight_bit` is set by octets before it.
template <bool Dots>
std::size_t plain_run(const char* text, std::size_t size, LinePosition& position, bool& eight_bit,
                      bool wide = wide_blocks) {
  BlockCarry carry{position.after_cr ? 1U : 0U, position.line_start ? 1U : 0U, false};
  const std::size_t begin = wide ? plain_blocks<Dots>(text, size, carry) : 0;
  auto [cr_before, lf_before, high] = carry;
  for (std::size_t at = begin; at < size; at += scan_block_octets) {
    const std::size_t octets = std::min(size - at, scan_block_octets);
    const bool whole = octets == scan_block_octets;
    const OctetBlock block =
        whole ? OctetBlock(text + at) : OctetBlock(PaddedBlock(text + at, octets).octets);
    const std::uint64_t valid = whole ? ~std::uint64_t{0} : (std::uint64_t{1} << octets) - 1;
    const std::uint64_t cr = block.equal_to('\r');
    const std::uint64_t lf = block.equal_to('\n');
    const std::uint64_t after_cr = cr << 1 | cr_before;
    const std::uint64_t after_lf = lf << 1 | lf_before;
    std::uint64_t odd = lf ^ after_cr;
    if constexpr (Dots) odd |= block.equal_to('.') & after_lf;
    if (block.any_nul()) [[unlikely]]
      odd |= block.equal_to('\0');
    odd &= valid;
    if (odd != 0) [[unlikely]] {
      const auto index = static_cast<unsigned>(std::countr_zero(odd));
      const std::uint64_t bit = std::uint64_t{1} << index;
      position = {(after_cr & bit) != 0, (after_lf & bit) != 0};
      eight_bit = eight_bit || high || (block.high() & (bit - 1)) != 0;
      return at + index;
    }
    high = high || block.any_high();
    cr_before = cr >> (octets - 1) & 1;
    lf_before = lf >> (octets - 1) & 1;
  }
  position = {cr_before != 0, lf_before != 0};
  eight_bit = eight_bit || high;
  return size;
}

// Passes over the whole blocks at the start of `text` in which no `Wanted` follows a LF; returns their size.
// `lf_before`: whether the octet before the next one is a LF.
#ifdef __SSE2__
template <char Wanted>
__attribute__((target("avx2"))) std::size_t blocks_without(std::string_view text, std::uint64_t& lf_before) {
  // Each octet is compared together with the one before it; the first one's is no longer there.
  if (text.size() <= scan_block_octets || (lf_before != 0 && text.front() == Wanted)) return 0;
  const __m256i wanted = _mm256_set1_epi8(Wanted);
  const __m256i lf = _mm256_set1_epi8('\n');
  const auto found = [&](const char* at) __attribute__((target("avx2"))) {
    return _mm256_and_si256(
        _mm256_cmpeq_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)), wanted),
        _mm256_cmpeq_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at - 1)), lf));
  };
  std::size_t at = 1;
  for (; at + scan_block_octets <= text.size(); at += scan_block_octets) {
    const __m256i any = _mm256_or_si256(found(text.data() + at), found(text.data() + at + 32));
    if (_mm256_movemask_epi8(any) != 0) break;
  }
  lf_before = text[at - 1] == '\n' ? 1 : 0;
  return at;
}
#else
template <char Wanted>
std::size_t blocks_without(std::string_view, std::uint64_t&) {
  return 0;
}
#endif

// Index of the first `Wanted` in `text` that follows a LF (or comes first when `line_start`); npos when
// there is none, and then `line_start` becomes whether the last octet is a LF.
template <char Wanted>
std::size_t find_at_line_start(std::string_view text, bool& line_start, bool wide = wide_blocks) {
  std::uint64_t lf_before = line_start ? 1 : 0;
  const std::size_t begin = wide ? blocks_without<Wanted>(text, lf_before) : 0;
  for (std::size_t at = begin; at < text.size(); at += scan_block_octets) {
    const std::size_t octets = std::min(text.size() - at, scan_block_octets);
    const bool whole = octets == scan_block_octets;
    const OctetBlock block =
        whole ? OctetBlock(text.data() + at) : OctetBlock(PaddedBlock(text.data() + at, octets).octets);
    const std::uint64_t lf = block.equal_to('\n');
    const std::uint64_t wanted = block.equal_to(Wanted) & (lf << 1 | lf_before);
    if (wanted != 0) [[unlikely]]
      return at + static_cast<std::size_t>(std::countr_zero(wanted));
    lf_before = lf >> (octets - 1) & 1;
  }
  line_start = lf_before != 0;
  return std::string_view::npos;
}

}  // namespace portcullis::smtp
