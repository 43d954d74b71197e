// The strictness rules: what a parser can find in a line, a command or a header that is refused because
// programs read it differently, or because an RFC forbids it. policy/strictness.h has the name, the stage
// and the mode of each.
#pragma once

#include <cstddef>
#include <cstdint>

namespace portcullis::smtp {

enum class Strictness : std::uint8_t {
  // Commands.
  command_line,      // a bare LF, a bare CR, a NUL or too many octets
  helo_name,         // the name in EHLO or HELO is no domain and no address literal
  address_syntax,    // the path of MAIL or RCPT cannot be read in one way
  address_form,      // it can, but RFC 5321 4.1.2 does not allow to write it so
  parameter_syntax,  // a parameter of MAIL or RCPT
  // The header.
  author_count,    // two From or Sender fields, several mailboxes without Sender or in Sender
  author_missing,  // no author
  author_syntax,   // an author field that readers read differently
  author_hidden,   // a line that some readers take for an author field, and others do not
  header_control,  // a control character that ends lines for some readers
  header_line,     // a line that is no field, where no author depends on it
  field_once,      // a field of which RFC 5322 3.6 or RFC 2045 allows one is there twice
  header_limit,    // more than a header may have
  received_loop,   // too many Received fields (RFC 5321 6.3)
  // The content.
  message_bare_lf,
  message_bare_cr,
  message_nul,
};
inline constexpr std::size_t strictness_count = static_cast<std::size_t>(Strictness::message_nul) + 1;

}  // namespace portcullis::smtp
