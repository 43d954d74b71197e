// Recognises the verb of an SMTP command line (RFC 5321 4.1.1, 3207, 4954, 3030; XCLIENT and
// XFORWARD of Postfix; HTTP request lines, so that cross-protocol attacks are seen as such).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace portcullis::smtp {

enum class Verb : std::uint8_t {
  ehlo,
  helo,
  starttls,
  auth,
  mail,
  rcpt,
  data,
  bdat,
  rset,
  noop,
  vrfy,
  expn,
  help,
  quit,
  xclient,
  xforward,
  http,  // GET/POST/PUT/CONNECT/HEAD/OPTIONS/DELETE request line, or a Host:/User-Agent: field
  unknown,
};
inline constexpr std::size_t verb_count = static_cast<std::size_t>(Verb::unknown) + 1;

struct Command {
  Verb verb = Verb::unknown;
  // What follows the verb and white space, trailing white space removed. For MAIL and RCPT this
  // still has "FROM:" / "TO:" (path.h takes it from there).
  std::string_view argument;
};

// `line` has no CRLF. Verbs are case-insensitive (RFC 5321 2.4).
Command parse_command(std::string_view line);

// Upper-case name as used on the wire and in metrics: "MAIL"; "HTTP" and "other" for the last two.
std::string_view name_of(Verb verb);

// EHLO/HELO argument: a domain or address literal (RFC 5321 4.1.4); lenient as the field is
// (underscores, no dot), but only printable ASCII without blanks, at most 255 octets.
bool is_valid_helo(std::string_view argument);

// The argument as it may stand in a Received field, in XFORWARD and in a reply: '?' for what is_valid_helo
// refuses, at most 255 octets. Many clients are called what their user typed ("Büro PC", "(none)").
std::string helo_text(std::string_view argument);

}  // namespace portcullis::smtp
