#include "smtp/header_fields.h"

#include <algorithm>
#include <array>

#include "smtp/limits.h"
#include "smtp/octet_search.h"

namespace portcullis::smtp {
namespace {

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

// Octets of the name that `line` begins with, up to its colon; 0 when there is no such name.
std::size_t field_name_octets(std::string_view line) {
  const std::size_t octets = find_octet<AnyOf<NotVisible, OneOf<':'>>>(line);
  return octets < line.size() && line[octets] == ':' ? octets : 0;
}

// What is wrong with the first line of a field that has no such name.
std::string_view field_line_fault(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == 0) return "a field without a name";
  const bool blank = colon != std::string_view::npos && is_blank(line[colon - 1]);
  return blank ? "white space before the colon" : "a line that is not a field";
}

std::string_view trimmed(std::string_view line) {
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
  while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
  return line;
}

}  // namespace

// Takes the next line, which may not be empty, with its CRLF. The last one has none when a message (by
// BDAT) ends inside its header.
bool HeaderFieldReader::take_line(std::string_view& line) {
  std::size_t end = find_octet<Control>(rest_);
  while (end < rest_.size() && !is_refused_control(rest_[end])) end = find_octet<Control>(rest_, end + 1);
  line = rest_.substr(0, end);
  if (end < rest_.size()) {
    if (!rest_.substr(end).starts_with("\r\n")) return fail("a control character");
    end += 2;
  }
  rest_.remove_prefix(end);
  if (line.empty() && !rest_.empty()) return fail("text after its end");
  return !line.empty();
}

bool HeaderFieldReader::next(HeaderField& field) {
  const bool continuation = continues();  // of no field: those of one are taken with it
  std::string_view line;
  if (!take_line(line)) return false;
  if (continuation) return fail("a continuation line without a field");
  const std::size_t name = field_name_octets(line);
  if (name == 0) return fail(field_line_fault(line));
  if (fields_++ == limits::header_fields) return fail("too many fields");
  field = {line.substr(0, name), line.substr(name + 1)};
  while (field.body.size() <= limits::header_field_octets) {
    if (!continues()) return true;
    if (!take_line(line)) return false;
    // Some end the header here (RFC 5322 4.2 forbids to write it).
    if (is_all_blank(line)) return fail("a line of white space only");
    field.body = std::string_view(field.body.begin(), line.end());  // lines are adjacent in the block
    field.folded = true;
  }
  return fail("a field too long");
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
