// Names and comments beside an address: whether a careless reader could find another address there.
#pragma once

#include <cstdint>
#include <string_view>

namespace portcullis::smtp {

enum class DisplayText : std::uint8_t { name, comment };

// What makes `raw` dangerous to a reader that knows no quotes, no comments, or decodes encoded words
// before it parses: a short phrase, empty when nothing does. `raw` has backslashes but no enclosing
// quotes or parentheses.
std::string_view display_text_fault(std::string_view raw, DisplayText kind);

}  // namespace portcullis::smtp
