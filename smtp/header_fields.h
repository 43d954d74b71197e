// A header block cut into fields (RFC 5322 2.2). Lines that are no field and no continuation of one are
// given out as well, and what is odd about a field is noted: the caller decides what it means. Bodies stay
// as they are on the wire.
//
//   HeaderFieldReader fields(block);
//   for (HeaderField field; fields.next(field);) …
//   if (!fields.fault().empty()) …   // the rest of the block was not read
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "smtp/ascii.h"

namespace portcullis::smtp {

struct HeaderField {
  std::string_view name;  // as written, without white space before the colon; empty: the line is no field
  std::string_view body;  // what follows the colon, folds included, without the last CRLF; or the whole line
  bool folded = false;    // over several lines
  bool blank_before_colon = false;
  bool blank_line = false;  // a continuation is white space only (RFC 5322 4.2 forbids to write it)
  bool line_end = false;    // a control character that ends lines or strings for some readers is in it
};

// One pass over the block, which outlives the fields: they are views of it.
class HeaderFieldReader {
 public:
  explicit HeaderFieldReader(std::string_view block) : rest_(block) {}

  // The next field or line; false at the end and at a fault.
  bool next(HeaderField& field);
  std::string_view fault() const { return fault_; }  // a short phrase, empty when there is none

 private:
  bool take_line(std::string_view& line, bool& line_end);
  // Whether the next line begins like the continuation of a field.
  bool continues() const { return !rest_.empty() && is_blank(rest_.front()); }
  bool fail(std::string_view fault) {
    fault_ = fault;
    return false;
  }

  std::string_view rest_;
  std::string_view fault_;
  std::size_t fields_ = 0;
};

// A short phrase for what is wrong with a line that is no field.
std::string_view odd_line_fault(std::string_view line);

// `body` on one line: each CRLF before a blank dropped (RFC 5322 2.2.3), blanks at both ends trimmed.
std::string unfold(std::string_view body);
// The same of a field: a view of its body, or of `memory` where it had to be put together.
std::string_view unfold(const HeaderField& field, std::string& memory);

}  // namespace portcullis::smtp
