#include "smtp/display_text.h"

#include <algorithm>
#include <string>

#include "smtp/ascii.h"
#include "smtp/encoded_word.h"

namespace portcullis::smtp {
namespace {

// Whether `text` has an '@' with something on both sides.
bool looks_like_address(std::string_view text) {
  for (std::size_t at = text.find('@'); at != std::string_view::npos; at = text.find('@', at + 1)) {
    if (at > 0 && !is_blank(text[at - 1]) && at + 1 < text.size() && !is_blank(text[at + 1])) return true;
  }
  return false;
}

// What could make a reader find an address in a name or a comment as it stands: one that knows no
// quotes, or no comments. Empty when nothing does.
std::string_view plain_text_fault(std::string_view text, DisplayText kind) {
  if (std::ranges::any_of(text, [](char c) { return is_control(c) && c != '\t'; })) {
    return "a control character in a name";
  }
  if (text.find_first_of("<>") != std::string_view::npos) return "an angle bracket in a name";
  if (kind == DisplayText::comment && text.find_first_of("()@\\\"") != std::string_view::npos) {
    return "a special character in a comment";
  }
  if (text.contains('@') && text.find_first_of(",;\\\"") != std::string_view::npos) {
    return "a list of addresses in a name";
  }
  return {};
}

}  // namespace

// The same for a reader that decodes encoded words before it parses; some do so twice.
std::string_view display_text_fault(std::string_view raw, DisplayText kind) {
  if (raw.empty()) return {};
  std::string memory;
  std::string_view text = raw;
  for (int depth = 0; depth < 3; ++depth) {
    if (const auto fault = plain_text_fault(text, kind); !fault.empty()) return fault;
    if (looks_like_address(text) && !looks_like_address(raw)) return "an encoded address in a name";
    if (!text.contains("=?")) break;
    auto decoded = decode_encoded_words(text);
    if (!decoded) return decoded.error();
    text = memory = std::move(*decoded);
  }
  return {};
}

}  // namespace portcullis::smtp
