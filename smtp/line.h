// Splits a byte stream into command lines, strictly (RFC 5321 2.3.8: a line ends at CRLF and
// nowhere else). Pure and stateless: the caller keeps the undecided bytes.
#pragma once

#include <cstddef>
#include <string_view>

namespace portcullis::smtp {

enum class LineStatus {
  need_more,  // no complete line in `bytes` yet
  line,       // a line; `text` has it without CRLF
  bare_lf,    // LF not preceded by CR
  bare_cr,    // CR not followed by LF
  nul,        // a NUL octet
  too_long,   // more than `max_octets` without CRLF
};

struct LineResult {
  LineStatus status = LineStatus::need_more;
  std::string_view text;     // valid while `bytes` is; only for LineStatus::line
  std::size_t consumed = 0;  // octets to drop from the front: 0 for need_more
};

// Looks at the front of `bytes` for one line of at most `max_octets` (CRLF included).
// On a fault, `consumed` covers the offending octet.
LineResult next_line(std::string_view bytes, std::size_t max_octets);

}  // namespace portcullis::smtp
