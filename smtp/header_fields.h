// A header block cut into fields (RFC 5322 2.2), strictly: every line is a field, the continuation of
// one, or the empty line at the end. Bodies stay as they are on the wire.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "smtp/header.h"

namespace portcullis::smtp {

struct HeaderField {
  std::string_view name;  // as written
  std::string_view body;  // what follows the colon, folds included, without the last CRLF
};

// The fields in order, as views of `block`. The fault's field is "header", or the name of the field
// where that is one of ours to name.
std::expected<std::vector<HeaderField>, HeaderFault> split_header(std::string_view block);

// `body` on one line: each CRLF before a blank dropped (RFC 5322 2.2.3), blanks at both ends trimmed.
std::string unfold(std::string_view body);

}  // namespace portcullis::smtp
