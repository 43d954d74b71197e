#include "smtp/without_secret.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "smtp/base64.h"
#include "smtp/sasl.h"

namespace portcullis::smtp {
namespace {

constexpr std::size_t short_secret_octets = 4;
constexpr std::size_t least_piece_octets = 4;
constexpr std::size_t most_piece_octets = 8;
constexpr std::string_view mark = "[...]";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// In an IMAP quoted string.
std::string quoted(std::string_view secret) {
  std::string out;
  for (const char c : secret) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string hexadecimal(std::string_view secret) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const char c : secret) {
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

// The characters of base64 that only the secret decides, when it begins `offset` octets behind a multiple of
// three.
std::string inside_base64(std::string_view secret, std::size_t offset) {
  std::string octets(offset, '\0');
  octets += secret;
  std::string encoded = encode_base64(octets);
  wipe(octets);
  const std::size_t first = (offset * 8 + 5) / 6;
  const std::size_t whole = (offset + secret.size()) * 8 / 6;
  std::string inside = first < whole ? encoded.substr(first, whole - first) : std::string();
  wipe(encoded);
  return inside;
}

std::size_t piece_octets(const std::string& form) {
  return std::min(form.size(), std::clamp(form.size() / 2, least_piece_octets, most_piece_octets));
}

// Marks what `text` and `form` have in common.
void find_pieces(const std::string& text, const std::string& form, std::vector<bool>& struck) {
  const std::size_t piece = piece_octets(form);
  if (piece == 0 || text.size() < piece) return;
  for (std::size_t at = 0; at + piece <= text.size(); ++at) {
    if (form.find(std::string_view(text).substr(at, piece)) == std::string::npos) continue;
    std::fill_n(struck.begin() + static_cast<std::ptrdiff_t>(at), piece, true);
  }
}

}  // namespace

std::string without_secret(std::string text, std::string_view secret) {
  if (secret.empty() || text.empty()) return text;
  const std::string folded = lower(text);
  std::array<std::string, 6> forms = {lower(secret),
                                      lower(quoted(secret)),
                                      lower(inside_base64(secret, 0)),
                                      lower(inside_base64(secret, 1)),
                                      lower(inside_base64(secret, 2)),
                                      hexadecimal(secret)};
  std::vector<bool> struck(text.size());
  if (secret.size() < short_secret_octets) {
    const bool there = folded.find(forms[0]) != std::string::npos;
    for (std::string& form : forms) wipe(form);
    return there ? std::string(mark) : text;
  }
  for (std::string& form : forms) {
    find_pieces(folded, form, struck);
    wipe(form);
  }
  if (std::ranges::find(struck, true) == struck.end()) return text;
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!struck[at]) {
      out += text[at];
    } else if (at == 0 || !struck[at - 1]) {
      out += mark;
    }
  }
  wipe(text);
  return out;
}

}  // namespace portcullis::smtp
