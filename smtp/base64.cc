#include "smtp/base64.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace portcullis::smtp {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t invalid = 64;

constexpr auto values = [] {
  std::array<std::uint8_t, 256> table{};
  table.fill(invalid);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return table;
}();

constexpr std::uint32_t octet(char c) { return static_cast<unsigned char>(c); }

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  // Padding can only be the last one or two characters; anywhere else '=' is not in the alphabet.
  std::size_t padding = 0;
  if (text.ends_with('=')) padding = text.ends_with("==") ? 2 : 1;
  text.remove_suffix(padding);

  std::string out;
  out.reserve(text.size() / 4 * 3 + 2);  // at once: a secret leaves no copies behind in grown buffers
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const char c : text) {
    const std::uint8_t value = values[octet(c)];
    if (value == invalid) return std::nullopt;
    bits = bits << 6U | value;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out += static_cast<char>(bits >> held & 0xffU);
  }
  if ((bits & ((1U << held) - 1)) != 0) return std::nullopt;
  return out;
}

std::string encode_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (; bytes.size() >= 3; bytes.remove_prefix(3)) {
    const std::uint32_t bits = octet(bytes[0]) << 16U | octet(bytes[1]) << 8U | octet(bytes[2]);
    out += {alphabet[bits >> 18U], alphabet[bits >> 12U & 63U], alphabet[bits >> 6U & 63U],
            alphabet[bits & 63U]};
  }
  if (bytes.size() == 1) {
    const std::uint32_t bits = octet(bytes[0]) << 4U;
    out += {alphabet[bits >> 6U], alphabet[bits & 63U], '=', '='};
  } else if (bytes.size() == 2) {
    const std::uint32_t bits = octet(bytes[0]) << 10U | octet(bytes[1]) << 2U;
    out += {alphabet[bits >> 12U], alphabet[bits >> 6U & 63U], alphabet[bits & 63U], '='};
  }
  return out;
}

}  // namespace portcullis::smtp
