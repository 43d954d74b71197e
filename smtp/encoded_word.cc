#include "smtp/encoded_word.h"

#include <cstdint>
#include <optional>

#include "smtp/ascii.h"

namespace portcullis::smtp {
namespace {

constexpr int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (is_digit(c)) return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// Padding may be missing, blanks are skipped; anything else makes decoders disagree.
std::optional<std::string> decode_b(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == ' ' || c == '\t') continue;
    const int value = base64_value(c);
    if (value < 0) return std::nullopt;
    bits = (bits << 6 | static_cast<std::uint32_t>(value)) & 0xffffU;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xffU);
    }
  }
  return out;
}

std::string decode_q(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (text[i] == '=' && high >= 0 && low >= 0) {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '_' ? ' ' : text[i];
    }
  }
  return out;
}

// The ASCII parts of ISO-2022 text (RFC 1468, 1557, 1922): what stands between ESC "$" and ESC "("
// is two octets a character and no ASCII.
std::string without_iso_2022(std::string_view text) {
  std::string out;
  bool wide = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == 0x1b && i + 1 < text.size()) {
      wide = text[i + 1] == '$';
      const bool four_octets = wide && i + 2 < text.size() && std::string_view("()*+").contains(text[i + 2]);
      i += four_octets ? 3U : 2U;
    } else {
      out += wide ? '?' : text[i];
    }
  }
  return out;
}

struct Word {
  std::string_view charset;
  char encoding = 0;
  std::string_view text;
  std::size_t octets = 0;
};

// An encoded word at the front of `text`, which starts with "=?".
std::optional<Word> word_at(std::string_view text) {
  Word word;
  const std::size_t charset_end = text.find('?', 2);
  if (charset_end == std::string_view::npos || charset_end + 2 >= text.size()) return std::nullopt;
  word.charset = text.substr(2, charset_end - 2);
  word.charset = word.charset.substr(0, word.charset.find('*'));  // language, RFC 2231 5
  word.encoding = to_upper(text[charset_end + 1]);
  if ((word.encoding != 'B' && word.encoding != 'Q') || text[charset_end + 2] != '?') return std::nullopt;
  const std::size_t begin = charset_end + 3;
  const std::size_t end = text.find("?=", begin);
  if (end == std::string_view::npos) return std::nullopt;
  word.text = text.substr(begin, end - begin);
  word.octets = end + 2;
  return word;
}

bool hides_ascii(std::string_view charset) {
  for (const std::string_view name :
       {"utf-7", "utf7", "unicode-1-1-utf-7", "utf-16", "utf16", "utf-32", "utf32", "ucs-2", "ucs-4",
        "iso-10646", "hz-gb", "utf-ebcdic", "ibm037", "cp037", "ebcdic", "unicode"}) {
    if (starts_with_ignoring_case(charset, name)) return true;
  }
  return false;
}

}  // namespace

std::expected<std::string, std::string_view> decode_encoded_words(std::string_view text) {
  // After the last "?=" no word can end. Looking no further keeps the search for ends linear.
  const std::size_t last_end = text.rfind("?=");
  if (last_end == std::string_view::npos) return std::string(text);
  const std::string_view tail = text.substr(last_end + 2);
  text.remove_suffix(tail.size());
  std::string out;
  bool after_word = false;
  while (!text.empty()) {
    const std::size_t start = text.find("=?");
    const std::string_view plain = text.substr(0, start);
    const bool only_blanks = plain.find_first_not_of(" \t") == std::string_view::npos;
    if (start == std::string_view::npos) {
      out += plain;
      break;
    }
    text.remove_prefix(start);
    const auto word = word_at(text);
    // Blanks between two encoded words are not part of the text (RFC 2047 6.2).
    if (!(after_word && word && only_blanks)) out += plain;
    after_word = word.has_value();
    if (!word) {
      out += text.substr(0, 2);
      text.remove_prefix(2);
      continue;
    }
    if (hides_ascii(word->charset)) return std::unexpected("an encoded word in a charset that hides ASCII");
    std::string decoded;
    if (word->encoding == 'B') {
      auto octets = decode_b(word->text);
      if (!octets) return std::unexpected("an encoded word with broken base64");
      decoded = std::move(*octets);
    } else {
      decoded = decode_q(word->text);
    }
    out += starts_with_ignoring_case(word->charset, "iso-2022-") ? without_iso_2022(decoded) : decoded;
    text.remove_prefix(word->octets);
  }
  return out += tail;
}

}  // namespace portcullis::smtp
