#include "policy/fold.h"

#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "smtp/ascii.h"

namespace portcullis::policy {
namespace {

struct Free {
  void operator()(void* memory) const { std::free(memory); }  // libunistring returns malloc()ed memory
};
template <typename T>
struct Units {
  std::unique_ptr<T, Free> memory;
  std::size_t size = 0;
  std::span<const T> view() const { return {memory.get(), size}; }
};
using CodePoints = Units<std::uint32_t>;

std::optional<CodePoints> decode(std::string_view utf8) {
  CodePoints out;
  const auto* units = reinterpret_cast<const std::uint8_t*>(utf8.data());
  if (u8_check(units, utf8.size()) != nullptr) return std::nullopt;
  out.memory.reset(u8_to_u32(units, utf8.size(), nullptr, &out.size));
  if (out.memory == nullptr) return std::nullopt;
  return out;
}

std::optional<std::string> encode(std::span<const std::uint32_t> points) {
  Units<std::uint8_t> out;
  out.memory.reset(u32_to_u8(points.data(), points.size(), nullptr, &out.size));
  if (out.memory == nullptr) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(out.memory.get()), out.size);
}

// Fullwidth and halfwidth forms to the characters they are forms of (RFC 8265 3.3.2, step 1).
void map_width(std::span<std::uint32_t> points) {
  for (std::uint32_t& point : points) {
    if (point < 0x80) continue;
    int tag = 0;
    ucs4_t parts[UC_DECOMPOSITION_MAX_LENGTH];
    const int count = uc_decomposition(point, &tag, parts);
    if (count == 1 && (tag == UC_DECOMP_WIDE || tag == UC_DECOMP_NARROW)) point = parts[0];
  }
}

bool is_visible(std::uint32_t point) {
  static const uc_general_category_t hidden =
      uc_general_category_or(UC_CATEGORY_C, uc_general_category_or(UC_CATEGORY_Zl, UC_CATEGORY_Zp));
  return !uc_is_general_category(point, hidden) && !uc_is_property_default_ignorable_code_point(point);
}

// Letters, digits and marks: "LetterDigits" of RFC 8264 9.1.
bool is_identifier(std::uint32_t point) {
  if (point < 0x80) return point >= 0x20 && point < 0x7f;
  static const uc_general_category_t letter_digits = uc_general_category_or(
      uc_general_category_or(uc_general_category_or(UC_CATEGORY_Ll, UC_CATEGORY_Lo),
                             uc_general_category_or(UC_CATEGORY_Lm, UC_CATEGORY_Lu)),
      uc_general_category_or(UC_CATEGORY_Nd, uc_general_category_or(UC_CATEGORY_Mn, UC_CATEGORY_Mc)));
  return uc_is_general_category(point, letter_digits);
}

// Whether `point` is outside ASCII and stands for an octet of ASCII that is neither a letter, a digit nor
// `allowed`: "*" as U+FF0A, "@" as U+FE6B, a blank as U+00A0, "..." as U+2026. Whoever normalizes would see
// one that was not written.
bool stands_for_mark(std::uint32_t point, std::string_view allowed) {
  if (point < 0x80) return false;
  CodePoints parts;
  parts.memory.reset(u32_normalize(UNINORM_NFKD, &point, 1, nullptr, &parts.size));
  if (parts.memory == nullptr) return true;
  return std::ranges::any_of(parts.view(), [&](std::uint32_t part) {
    return part < 0x80 && !smtp::is_alnum(static_cast<char>(part)) &&
           allowed.find(static_cast<char>(part)) == allowed.npos;
  });
}

// `marks`: of ASCII, that characters outside it may stand for.
std::optional<CodePoints> fold(std::string_view utf8, std::string_view marks) {
  const auto decoded = decode(utf8);
  if (!decoded || decoded->size == 0) return std::nullopt;
  for (const std::uint32_t point : decoded->view()) {
    if (stands_for_mark(point, marks)) return std::nullopt;
  }
  std::vector<std::uint32_t> points(decoded->view().begin(), decoded->view().end());
  map_width(points);
  CodePoints out;
  out.memory.reset(u32_tolower(points.data(), points.size(), nullptr, UNINORM_NFC, nullptr, &out.size));
  if (out.memory == nullptr) return std::nullopt;
  for (const std::uint32_t point : out.view()) {
    if (!is_visible(point)) return std::nullopt;
  }
  return out;
}

// Whether compatibility normalisation would change it ("HasCompat", RFC 8264 9.17): ligatures,
// circled digits and the like, which a directory might take for the plain letters.
bool has_compatibility_forms(std::span<const std::uint32_t> points) {
  CodePoints normal;
  normal.memory.reset(u32_normalize(UNINORM_NFKC, points.data(), points.size(), nullptr, &normal.size));
  return normal.memory == nullptr ||
         u32_cmp2(normal.memory.get(), normal.size, points.data(), points.size()) != 0;
}

}  // namespace

std::optional<std::string> fold_text(std::string_view utf8) {
  const auto folded = fold(utf8, {});
  if (!folded) return std::nullopt;
  return encode(folded->view());
}

std::optional<std::string> fold_username(std::string_view utf8) {
  // What a Japanese keyboard writes in an address; all are of one kind wherever logins are compared.
  const auto folded = fold(utf8, "@.-_+");
  if (!folded || has_compatibility_forms(folded->view())) return std::nullopt;
  std::uint32_t previous = ' ';
  for (const std::uint32_t point : folded->view()) {
    if (!is_identifier(point) || (point == ' ' && previous == ' ')) return std::nullopt;
    previous = point;
  }
  if (previous == ' ') return std::nullopt;
  return encode(folded->view());
}

}  // namespace portcullis::policy
