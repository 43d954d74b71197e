#include "smtp/line.h"

#include <algorithm>

namespace portcullis::smtp {

// Decides from the first octet that ends or spoils the line, never from what follows it, so that
// the answer does not depend on how TCP cut the stream.
LineResult next_line(std::string_view bytes, std::size_t max_octets) {
  const std::string_view window = bytes.substr(0, max_octets);
  const std::size_t lf = window.find('\n');
  const std::string_view before_lf = window.substr(0, lf);
  const std::size_t nul = before_lf.find('\0');
  const std::size_t cr = before_lf.find('\r');

  if (nul < cr) return {LineStatus::nul, {}, nul + 1};
  if (cr != std::string_view::npos) {
    if (cr + 1 == lf) return {LineStatus::line, window.substr(0, cr), lf + 1};
    if (cr + 1 < window.size()) return {LineStatus::bare_cr, {}, cr + 1};
  } else if (lf != std::string_view::npos) {
    return {LineStatus::bare_lf, {}, lf + 1};
  }
  if (window.size() == max_octets) return {LineStatus::too_long, {}, max_octets};
  return {};
}

}  // namespace portcullis::smtp
