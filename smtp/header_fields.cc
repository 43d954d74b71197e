#include "smtp/header_fields.h"

#include <algorithm>
#include <array>

#include "smtp/limits.h"
#include "smtp/octet_search.h"

namespace portcullis::smtp {
namespace {

// Ends of lines for some readers (LF, VT, FF, CR, FS, GS, RS), or of strings (NUL). Other controls stand for
// themselves: old clients in Asia send ISO-2022 text as it is, others send what a user pasted.
constexpr auto line_ends = [] {
  std::array<bool, 256> table{};
  for (const unsigned c : {0x00U, 0x0aU, 0x0bU, 0x0cU, 0x0dU, 0x1cU, 0x1dU, 0x1eU}) table[c] = true;
  return table;
}();
bool is_line_end(char c) { return line_ends[static_cast<unsigned char>(c)]; }

bool is_all_blank(std::string_view line) { return std::ranges::all_of(line, is_blank); }

// Octets of the name that `line` begins with, up to its colon or the white space before it; 0 when there is
// no such name.
std::size_t field_name_octets(std::string_view line, bool& blank_before_colon) {
  const std::size_t octets = find_octet<AnyOf<NotVisible, OneOf<':'>>>(line);
  std::size_t colon = octets;
  while (colon < line.size() && is_blank(line[colon])) ++colon;
  if (colon == line.size() || line[colon] != ':') return 0;
  blank_before_colon = colon != octets;
  return octets;
}

std::string_view trimmed(std::string_view line) {
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
  while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
  return line;
}

}  // namespace

std::string_view odd_line_fault(std::string_view line) {
  if (!line.empty() && is_blank(line.front())) return "a continuation line without a field";
  return line.starts_with(':') ? "a field without a name" : "a line that is not a field";
}

// Takes the next line, which may not be empty, with its CRLF. The last one has none when a message (by
// BDAT) ends inside its header.
bool HeaderFieldReader::take_line(std::string_view& line, bool& line_end) {
  std::size_t end = find_octet<Control>(rest_);
  while (end < rest_.size() && !rest_.substr(end).starts_with("\r\n")) {
    line_end = line_end || is_line_end(rest_[end]);
    end = find_octet<Control>(rest_, end + 1);
  }
  line = rest_.substr(0, end);
  rest_.remove_prefix(std::min(end + 2, rest_.size()));
  if (line.empty() && !rest_.empty()) return fail("text after its end");
  return !line.empty();
}

bool HeaderFieldReader::next(HeaderField& field) {
  const bool continuation = continues();  // of no field: those of one are taken with it
  std::string_view line;
  field = {};
  if (!take_line(line, field.line_end)) return false;
  if (fields_++ == limits::header_fields) return fail("too many fields");
  const std::size_t name = continuation ? 0 : field_name_octets(line, field.blank_before_colon);
  field.name = line.substr(0, name);
  field.body = name == 0 ? line : line.substr(line.find(':') + 1);
  while (continues() && name != 0) {
    if (!take_line(line, field.line_end)) return false;
    field.blank_line = field.blank_line || is_all_blank(line);
    field.body = std::string_view(field.body.begin(), line.end());  // lines are adjacent in the block
    field.folded = true;
  }
  return true;
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

std::string_view unfold(const HeaderField& field, std::string& memory) {
  if (!field.folded) return trimmed(field.body);
  return memory = unfold(field.body);
}

}  // namespace portcullis::smtp
