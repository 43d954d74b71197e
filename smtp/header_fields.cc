#include "smtp/header_fields.h"

#include <algorithm>
#include <array>

#include "smtp/ascii.h"
#include "smtp/limits.h"

namespace portcullis::smtp {
namespace {

std::unexpected<HeaderFault> fault(std::string reason) {
  return std::unexpected(HeaderFault{"header", std::move(reason)});
}

// Controls split lines for some readers (VT, FF, FS, GS, RS) or end strings (NUL). ISO-2022 text that
// was not encoded needs ESC, SO and SI, and old clients in Asia send it.
constexpr auto refused_controls = [] {
  std::array<bool, 256> table{};
  for (unsigned c = 0; c < 0x80; ++c) table[c] = is_control(static_cast<char>(c));
  for (const unsigned c : {0x09U, 0x0eU, 0x0fU, 0x1bU}) table[c] = false;
  return table;
}();
bool is_refused_control(char c) { return refused_controls[static_cast<unsigned char>(c)]; }

bool is_all_blank(std::string_view line) { return std::ranges::all_of(line, is_blank); }

// What is wrong with the first line of a field; empty when nothing is.
std::string_view field_line_fault(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return "a line that is not a field";
  const std::string_view name = line.substr(0, colon);
  if (name.empty()) return "a field without a name";
  if (is_blank(name.back())) return "white space before the colon";
  if (!std::ranges::all_of(name, is_visible)) return "a line that is not a field";
  return {};
}

}  // namespace

std::expected<std::vector<HeaderField>, HeaderFault> split_header(std::string_view block) {
  std::vector<HeaderField> fields;
  std::string_view rest = block;
  while (!rest.empty()) {
    // The last line has no CRLF when a message (by BDAT) ends inside its header.
    const std::size_t end = std::min(rest.find("\r\n"), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 2, rest.size()));
    if (line.empty()) {
      if (!rest.empty()) return fault("text after its end");
      break;
    }
    if (std::ranges::any_of(line, is_refused_control)) return fault("a control character");
    if (is_blank(line.front())) {
      if (fields.empty()) return fault("a continuation line without a field");
      // Some end the header here (RFC 5322 4.2 forbids to write it).
      if (is_all_blank(line)) return fault("a line of white space only");
      std::string_view& body = fields.back().body;
      body = std::string_view(body.begin(), line.end());  // lines are adjacent in the block
    } else {
      if (const auto wrong = field_line_fault(line); !wrong.empty()) return fault(std::string(wrong));
      if (fields.size() == limits::header_fields) return fault("too many fields");
      const std::size_t colon = line.find(':');
      fields.push_back({line.substr(0, colon), line.substr(colon + 1)});
    }
    if (fields.back().body.size() > limits::header_field_octets) return fault("a field too long");
  }
  return fields;
}

std::string unfold(std::string_view body) {
  std::string text;
  text.reserve(body.size());
  while (!body.empty()) {
    const std::size_t fold = std::min(body.find("\r\n"), body.size());
    std::string_view line = body.substr(0, fold);
    body.remove_prefix(std::min(fold + 2, body.size()));
    while (text.empty() && !line.empty() && is_blank(line.front())) line.remove_prefix(1);
    text += line;
  }
  while (!text.empty() && is_blank(text.back())) text.pop_back();
  return text;
}

}  // namespace portcullis::smtp
