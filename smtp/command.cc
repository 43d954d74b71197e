#include "smtp/command.h"

#include <algorithm>
#include <cstddef>

#include "smtp/ascii.h"

namespace portcullis::smtp {
namespace {

// Indexed by Verb.
constexpr std::array<std::string_view, verb_count> names = {
    "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT",    "DATA",     "BDAT", "RSET",
    "NOOP", "VRFY", "EXPN",     "HELP", "QUIT", "XCLIENT", "XFORWARD", "HTTP", "other",
};

// No verb of SMTP is longer than eight octets, so a word is one integer to compare. Without its case bit
// nothing but a letter becomes one.
constexpr std::size_t packed_octets_max = 8;
constexpr unsigned case_bit = 0x20;
constexpr std::uint64_t packed(std::string_view word) {
  std::uint64_t value = 0;
  for (const char c : word) value = value << 8U | (static_cast<unsigned char>(c) & ~case_bit);
  return value;
}

constexpr auto packed_verbs = [] {
  std::array<std::uint64_t, static_cast<std::size_t>(Verb::http)> verbs{};
  for (std::size_t i = 0; i < verbs.size(); ++i) verbs[i] = packed(names[i]);
  return verbs;
}();

constexpr std::string_view http_methods[] = {"GET",     "POST",  "PUT",    "CONNECT", "HEAD",
                                             "OPTIONS", "PATCH", "DELETE", "TRACE"};
// A browser's cross-protocol POST shows itself by its fields when the request line was lost.
constexpr std::string_view http_fields[] = {"Host:", "User-Agent:"};

bool is_http(std::string_view word, std::string_view line) {
  const auto is_word = [word](std::string_view method) { return equals_ignoring_case(word, method); };
  if (word.size() < line.size() && std::ranges::any_of(http_methods, is_word)) return true;
  return std::ranges::any_of(http_fields,
                             [line](std::string_view f) { return starts_with_ignoring_case(line, f); });
}

Verb verb_of(std::string_view word, std::string_view line) {
  if (word.size() <= packed_octets_max) {
    const auto found = std::ranges::find(packed_verbs, packed(word));
    if (found != packed_verbs.end()) return static_cast<Verb>(found - packed_verbs.begin());
  }
  return is_http(word, line) ? Verb::http : Verb::unknown;
}

}  // namespace

Command parse_command(std::string_view line) {
  std::string_view rest = line;
  const std::string_view word = next_token(rest, ' ');
  while (!rest.empty() && is_blank(rest.front())) rest.remove_prefix(1);
  while (!rest.empty() && is_blank(rest.back())) rest.remove_suffix(1);
  return {verb_of(word, line), rest};
}

std::string_view name_of(Verb verb) { return names.at(static_cast<std::size_t>(verb)); }

namespace {

constexpr std::size_t helo_octets = 255;

// The name goes into a Received field: what is special there (RFC 5322 3.2.3) has no place in a domain and
// would let a client write the rest of the field.
constexpr bool is_helo_octet(char c) {
  return is_visible(c) && std::string_view("()<>@,;\\\"[]").find(c) == std::string_view::npos;
}

}  // namespace

bool is_valid_helo(std::string_view argument) {
  if (argument.empty() || argument.size() > helo_octets) return false;
  const bool literal = argument.front() == '[' && argument.size() > 2 && argument.back() == ']';
  const std::string_view inner = literal ? argument.substr(1, argument.size() - 2) : argument;
  return std::ranges::all_of(inner, is_helo_octet);
}

std::string helo_text(std::string_view argument) {
  std::string text(argument.substr(0, helo_octets));
  if (!is_valid_helo(text)) {
    std::ranges::replace_if(text, [](char c) { return !is_helo_octet(c); }, '?');
  }
  return text;
}

}  // namespace portcullis::smtp
