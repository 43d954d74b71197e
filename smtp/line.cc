#include "smtp/line.h"

#include "smtp/octet_search.h"

namespace portcullis::smtp {

// Decides from the first octet that ends or spoils the line, never from what follows it, so that
// the answer does not depend on how TCP cut the stream.
LineResult next_line(std::string_view bytes, std::size_t max_octets) {
  const std::string_view window = bytes.substr(0, max_octets);
  const std::size_t at = find_octet<OneOf<'\0', '\r', '\n'>>(window);
  if (at < window.size()) {
    if (window[at] == '\0') return {LineStatus::nul, {}, at + 1};
    if (window[at] == '\n') return {LineStatus::bare_lf, {}, at + 1};
    if (at + 1 < window.size()) {
      if (window[at + 1] != '\n') return {LineStatus::bare_cr, {}, at + 1};
      return {LineStatus::line, window.substr(0, at), at + 2};
    }
  }
  if (window.size() == max_octets) return {LineStatus::too_long, {}, max_octets};
  return {};
}

}  // namespace portcullis::smtp
