// A header block cut into fields (RFC 5322 2.2), strictly: every line is a field, the continuation of
// one, or the empty line at the end. Bodies stay as they are on the wire.
//
//   HeaderFieldReader fields(block);
//   for (HeaderField field; fields.next(field);) …
//   if (!fields.fault().empty()) …   // the block is no header, whatever came before
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "smtp/ascii.h"

namespace portcullis::smtp {

struct HeaderField {
  std::string_view name;  // as written
  std::string_view body;  // what follows the colon, folds included, without the last CRLF
  bool folded = false;    // over several lines
};

// One pass over the block, which outlives the fields: they are views of it.
class HeaderFieldReader {
 public:
  explicit HeaderFieldReader(std::string_view block) : rest_(block) {}

  // The next field; false at the end and at a fault.
  bool next(HeaderField& field);
  std::string_view fault() const { return fault_; }  // a short phrase, empty when there is none

 private:
  bool take_line(std::string_view& line);
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

// `body` on one line: each CRLF before a blank dropped (RFC 5322 2.2.3), blanks at both ends trimmed.
std::string unfold(std::string_view body);
// The same of a field: a view of its body, or of `memory` where it had to be put together.
std::string_view unfold(const HeaderField& field, std::string& memory);

}  // namespace portcullis::smtp
