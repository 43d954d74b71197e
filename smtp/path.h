// Mailboxes and paths of the envelope (RFC 5321 4.1.2, 6531 3.3).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace portcullis::smtp {

// One mailbox, parsed one way only. `local` is without quotes and backslashes, its case kept;
// `domain` is as written (address literals keep their brackets).
struct Mailbox {
  std::string local;
  std::string domain;
  bool operator==(const Mailbox&) const = default;
};

// "local@domain", the local part quoted only where RFC 5321 needs it.
std::string to_string(const Mailbox& mailbox);

struct Path {
  bool null = false;  // "<>"; reverse-path only
  Mailbox mailbox;    // domain empty for the bare <Postmaster> (RFC 5321 4.1.1.3)
  bool utf8 = false;  // has octets above 127 (only where the caller allowed them)
  // Dots in a row, or at an end of the local part, came without the quotes that RFC 5321 wants around them,
  // as old Japanese mobile addresses do. They are sent on as they came: servers compare the spelling.
  bool bare_dots = false;
};

// "<local@domain>" or "<>": the canonical spelling that is sent to the upstream.
void append_wire(std::string& out, const Path& path);
std::string to_wire(const Path& path);

enum class PathError : std::uint8_t {
  syntax,            // 501 5.1.3 / 5.1.7
  too_long,          // 501 5.1.3 / 5.1.7
  utf8_not_allowed,  // 553 5.6.7: 8-bit octets without SMTPUTF8
};

struct ParsedPath {
  Path path;
  bool odd_form = false;        // it reads in one way, but RFC 5321 4.1.2 has it otherwise
  std::string_view parameters;  // what follows the path and one space: the ESMTP parameters
};

// Argument of MAIL ("FROM:<...> params") and RCPT ("TO:<...> params"). What old clients write and nobody
// reads differently is accepted: blanks after the colon, no angle brackets, dots in a row, '_' in a domain,
// long local parts. One bracket without the other, a control character, anything ambiguous is not. Source
// routes ("<@a,@b:c@d>") are dropped as RFC 5321 appendix C asks.
// `allow_utf8`: whether octets above 127 may occur; MAIL passes true when SMTPUTF8 is among the
// parameters (the caller looks with has_smtputf8_parameter first).
std::expected<ParsedPath, PathError> parse_mail_argument(std::string_view argument, bool allow_utf8);
std::expected<ParsedPath, PathError> parse_rcpt_argument(std::string_view argument, bool allow_utf8);

// One addr-spec in RFC 5321 form without angle brackets, e.g. from a file or a directory.
std::expected<Mailbox, PathError> parse_mailbox(std::string_view text, bool allow_utf8);

// Whether `domain` is a syntactically valid domain name or address literal. '_' passes: hosts have it.
bool is_valid_domain(std::string_view domain, bool allow_utf8);

}  // namespace portcullis::smtp
