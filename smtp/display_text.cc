#include "smtp/display_text.h"

#include <algorithm>
#include <string>

#include "smtp/ascii.h"
#include "smtp/encoded_word.h"

namespace portcullis::smtp {
namespace {

// How often `text` has an '@' with something on both sides.
std::size_t count_addresses(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = text.find('@'); at != std::string_view::npos; at = text.find('@', at + 1)) {
    if (at > 0 && !is_blank(text[at - 1]) && at + 1 < text.size() && !is_blank(text[at + 1])) ++count;
  }
  return count;
}

// What may stand on either side of an address in running text.
constexpr bool parts_addresses(char c) { return is_blank(c) || std::string_view("()[]\"',;:").contains(c); }

// `text` without every `own` in it that stands on its own.
std::string without(std::string_view text, std::string_view own) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = at + own.size();
    const bool found = !own.empty() && (at == 0 || parts_addresses(text[at - 1])) &&
                       starts_with_ignoring_case(text.substr(at), own) &&
                       (end >= text.size() || parts_addresses(text[end]));
    if (found) {
      at = end;
    } else {
      out += text[at++];
    }
  }
  return out;
}

// What could make a reader find an address in a name or a comment as it stands: one that knows no
// quotes, or no comments. Empty when nothing does.
std::string_view plain_text_fault(std::string_view text, DisplayText kind) {
  if (std::ranges::any_of(text, [](char c) { return is_control(c) && c != '\t'; })) {
    return "a control character in a name";
  }
  if (text.find_first_of("<>") != std::string_view::npos) return "an angle bracket in a name";
  if (kind == DisplayText::comment) {
    // Quotes in pairs, with nothing in them or around them that another reader gives a meaning.
    const bool quoted = text.contains('"');
    if (std::ranges::count(text, '"') % 2 != 0 || text.find_first_of("@\\") != std::string_view::npos ||
        (quoted && text.find_first_of("(),;:") != std::string_view::npos)) {
      return "a special character in a comment";
    }
  }
  if (kind == DisplayText::nobody && text.contains('@')) return "an address in a name";
  if (text.contains('@') && text.find_first_of(",;\\\"") != std::string_view::npos) {
    return "a list of addresses in a name";
  }
  return {};
}

}  // namespace

// The same for a reader that decodes encoded words before it parses; some do so twice.
std::string_view display_text_fault(std::string_view raw, DisplayText kind, std::string_view own) {
  if (raw.empty()) return {};
  std::string memory, stripped;
  std::string_view text = raw;
  for (int depth = 0; depth < 3; ++depth) {
    std::string_view rest = text;
    if (text.contains('@')) rest = stripped = without(text, own);
    if (const auto fault = plain_text_fault(rest, kind); !fault.empty()) return fault;
    if (count_addresses(rest) > count_addresses(raw)) return "an encoded address in a name";
    if (!text.contains("=?")) break;
    auto decoded = decode_encoded_words(text);
    if (!decoded) return decoded.error();
    text = memory = std::move(*decoded);
  }
  return {};
}

}  // namespace portcullis::smtp
