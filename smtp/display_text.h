// Names and comments beside an address: whether a careless reader could find another address there.
#pragma once

#include <cstdint>
#include <string_view>

namespace portcullis::smtp {

enum class DisplayText : std::uint8_t {
  name,
  comment,
  nobody,  // a name without an address: a reader that looks for one could find it here
};

// What makes `raw` dangerous to a reader that knows no quotes, no comments, or decodes encoded words
// before it parses: a short phrase, empty when nothing does. `raw` has backslashes but no enclosing
// quotes or parentheses. `own`: the address beside it, which it may repeat.
std::string_view display_text_fault(std::string_view raw, DisplayText kind, std::string_view own);

}  // namespace portcullis::smtp
