#include "smtp/path.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

#include "smtp/address_literal.h"
#include "smtp/ascii.h"
#include "smtp/limits.h"
#include "smtp/utf8.h"

namespace portcullis::smtp {
namespace {

constexpr std::size_t label_octets = 63;       // RFC 1035 2.3.4
constexpr std::size_t local_part_octets = 64;  // RFC 5321 4.5.3.1.1; VERP and SRS need more

// What may stand in a local part without quotes (but for where dots may be), and in a domain.
constexpr auto atom_octet = [] {
  std::array<bool, 256> table = atext_table;
  for (unsigned c = 0x80; c < table.size(); ++c) table[c] = true;
  return table;
}();
constexpr auto domain_octet = [] {
  std::array<bool, 256> table = alnum_table;
  table['-'] = table['.'] = table['_'] = true;
  return table;
}();

// Reads the pieces of a path from left to right; the first fault sticks.
class Cursor {
 public:
  Cursor(std::string_view text, bool allow_utf8) : rest_(text), allow_utf8_(allow_utf8) {}

  bool at_end() const { return rest_.empty(); }
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  std::string_view rest() const { return rest_; }
  PathError error() const { return error_.value_or(PathError::syntax); }

  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool take_ignoring_case(std::string_view word) {
    if (!starts_with_ignoring_case(rest_, word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  bool take_blank() { return take(' ') || take('\t'); }
  bool local_part(std::string& out);
  bool domain(std::string_view& out);
  bool bare_dots() const { return bare_dots_; }

 private:
  bool dot_string(std::string& out);
  bool quoted_string(std::string& out);
  bool fail(PathError error) {
    error_ = error_.value_or(error);
    return false;
  }
  // Octets of the printable UTF-8 sequence at the front, 0 (and the fault noted) if it may not be.
  std::size_t utf8_octets();

  std::string_view rest_;
  bool allow_utf8_;
  bool bare_dots_ = false;
  std::optional<PathError> error_;
};

std::size_t Cursor::utf8_octets() {
  if (rest_.empty() || is_ascii(rest_.front())) return 0;
  const std::size_t octets = allow_utf8_ ? utf8_visible_octets(rest_) : 0;
  if (octets == 0) fail(allow_utf8_ ? PathError::syntax : PathError::utf8_not_allowed);
  return octets;
}

bool Cursor::local_part(std::string& out) { return peek() == '"' ? quoted_string(out) : dot_string(out); }

// Dot-string = Atom *("." Atom), RFC 5321 4.1.2; atext extended by RFC 6531 3.3. Dots may be anywhere, as
// long as there is an atom.
bool Cursor::dot_string(std::string& out) {
  std::size_t length = 0, dots = 0;
  const std::string_view start = rest_;
  while (length < start.size()) {
    std::size_t octets = 1;
    if (start[length] == '.') {
      ++dots;
      bare_dots_ = bare_dots_ || length == 0 || start[length - 1] == '.';
    } else if (!is_atext(start[length])) {
      rest_ = start.substr(length);
      octets = utf8_octets();
    }
    if (octets == 0) break;
    length += octets;
  }
  if (length == dots || error_) return fail(PathError::syntax);
  bare_dots_ = bare_dots_ || start[length - 1] == '.';
  out = start.substr(0, length);
  rest_ = start.substr(length);
  return true;
}

// Quoted-string of RFC 5321 4.1.2, kept without its quotes and backslashes. Two legal forms are
// refused because the servers behind us disagree about them: the empty one, and one with '@', which
// some of them take for a route to another domain (Postfix does unless told not to).
bool Cursor::quoted_string(std::string& out) {
  out.clear();
  take('"');
  while (!take('"')) {
    const bool escaped = take('\\');  // RFC 6531 does not extend quoted pairs: ASCII only
    std::size_t octets = 1;
    if (!is_ascii(peek())) octets = escaped ? 0 : utf8_octets();
    if (octets == 0 || is_control(peek()) || peek() == '@') return fail(PathError::syntax);
    out += rest_.substr(0, octets);
    rest_.remove_prefix(octets);
  }
  return !out.empty() || fail(PathError::syntax);
}

// Domain or address literal, up to what can not be part of it.
bool Cursor::domain(std::string_view& out) {
  const std::string_view start = rest_;
  std::size_t length = 0;
  if (peek() == '[') {
    length = std::min(start.find(']'), start.size() - 1) + 1;
    if (!is_valid_address_literal(start.substr(0, length))) return fail(PathError::syntax);
  } else {
    for (; length < start.size(); ++length) {
      const char c = start[length];
      if (domain_octet[static_cast<unsigned char>(c)]) continue;
      if (c == '>' || c == ',' || c == ':' || is_blank(c)) break;
      if (is_ascii(c)) continue;  // and not in a domain, either: is_valid_domain() says so
      rest_ = start.substr(length);
      const std::size_t octets = utf8_octets();
      if (octets == 0) return false;
      length += octets - 1;
    }
    if (length > limits::domain_octets) return fail(PathError::too_long);
    if (!is_valid_domain(start.substr(0, length), allow_utf8_)) return fail(PathError::syntax);
  }
  out = start.substr(0, length);
  rest_ = start.substr(length);
  return true;
}

bool mailbox(Cursor& cursor, Mailbox& out) {
  std::string_view domain;
  if (!cursor.local_part(out.local) || !cursor.take('@') || !cursor.domain(domain)) return false;
  out.domain = domain;
  return true;
}

// A-d-l ":" of RFC 5321 4.1.2: read to be sure that it is one, then forgotten (appendix C).
bool skip_source_route(Cursor& cursor) {
  if (cursor.peek() != '@') return true;
  std::string_view ignored;
  do {
    if (!cursor.take('@') || !cursor.domain(ignored)) return false;
  } while (cursor.take(','));
  return cursor.take(':');
}

// <Postmaster> without a domain (RFC 5321 4.5.1), recipients only.
bool bare_postmaster(Cursor& cursor, Mailbox& out) {
  constexpr std::string_view postmaster = "postmaster";
  const std::string_view name = cursor.rest().substr(0, postmaster.size());
  const std::string_view next = cursor.rest().substr(name.size(), 1);
  if (!(next.empty() || next == ">" || next == " ") || !cursor.take_ignoring_case(postmaster)) return false;
  out.local = name;
  return true;
}

// Atoms with a dot between two need none.
bool needs_quotes(std::string_view local) {
  for (std::size_t at = 0;; ++at) {
    const std::size_t atom = at;
    while (at < local.size() && atom_octet[static_cast<unsigned char>(local[at])]) ++at;
    if (at == atom) return true;
    if (at == local.size()) return false;
    if (local[at] != '.') return true;
  }
}

void append_mailbox(std::string& out, const Mailbox& mailbox, bool bare_dots) {
  if (!bare_dots && needs_quotes(mailbox.local)) {
    out += '"';
    for (const char c : mailbox.local) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  } else {
    out += mailbox.local;
  }
  if (mailbox.domain.empty()) return;
  out += '@';
  out += mailbox.domain;
}

// Octets of to_wire(path), where no octet has to be escaped.
std::size_t plain_octets(const Mailbox& mailbox) {
  return mailbox.local.size() + mailbox.domain.size() + 3;  // < @ >
}

bool is_too_long(const Mailbox& mailbox) {
  const std::size_t octets = plain_octets(mailbox);
  // Quotes and an escape for each octet would still fit: so it is nearly always.
  if (octets + 2 + mailbox.local.size() <= limits::path_octets) return false;
  if (!needs_quotes(mailbox.local)) return octets > limits::path_octets;
  const auto escaped = std::ranges::count_if(mailbox.local, [](char c) { return c == '"' || c == '\\'; });
  return octets + 2 + static_cast<std::size_t>(escaped) > limits::path_octets;
}

enum class Direction : std::uint8_t { reverse, forward };

std::expected<ParsedPath, PathError> parse_argument(std::string_view argument, Direction direction,
                                                    bool allow_utf8) {
  Cursor cursor(argument, allow_utf8);
  if (!cursor.take_ignoring_case(direction == Direction::reverse ? "FROM:" : "TO:")) {
    return std::unexpected(PathError::syntax);
  }
  while (cursor.take_blank()) {
  }
  ParsedPath parsed;
  Path& path = parsed.path;
  const bool brackets = cursor.take('<');
  if (brackets && direction == Direction::reverse && cursor.peek() == '>') {
    path.null = true;
  } else if (direction == Direction::reverse || !bare_postmaster(cursor, path.mailbox)) {
    if (brackets && !skip_source_route(cursor)) return std::unexpected(cursor.error());
    if (!mailbox(cursor, path.mailbox)) return std::unexpected(cursor.error());
    if (is_too_long(path.mailbox)) return std::unexpected(PathError::too_long);
  }
  if (brackets && !cursor.take('>')) return std::unexpected(cursor.error());
  if (!cursor.at_end() && !cursor.take(' ')) return std::unexpected(PathError::syntax);
  path.bare_dots = cursor.bare_dots();
  parsed.odd_form = !brackets || path.bare_dots || path.mailbox.local.size() > local_part_octets ||
                    path.mailbox.domain.contains('_');
  path.utf8 = allow_utf8 && (has_eight_bit(path.mailbox.local) || has_eight_bit(path.mailbox.domain));
  parsed.parameters = cursor.rest();
  return parsed;
}

bool is_valid_utf8_label(std::string_view label) {
  if (label.empty() || label.front() == '-' || label.back() == '-') return false;
  // A U-label is bounded by its A-label, which only IDNA can tell; the domain's bound holds here.
  if (!has_eight_bit(label) && label.size() > label_octets) return false;
  while (!label.empty()) {
    const std::size_t octets = is_ascii(label[0]) ? 1 : utf8_visible_octets(label);
    if (octets == 0) return false;
    if (octets == 1 && !domain_octet[static_cast<unsigned char>(label[0])]) return false;
    label.remove_prefix(octets);
  }
  return true;
}

bool is_valid_utf8_domain(std::string_view domain) {
  while (!domain.empty()) {
    if (!is_valid_utf8_label(next_token(domain, '.'))) return false;
  }
  return true;
}

}  // namespace

std::string to_string(const Mailbox& mailbox) {
  std::string out;
  out.reserve(plain_octets(mailbox));
  append_mailbox(out, mailbox, false);
  return out;
}

void append_wire(std::string& out, const Path& path) {
  out += '<';
  if (!path.null) append_mailbox(out, path.mailbox, path.bare_dots);
  out += '>';
}

std::string to_wire(const Path& path) {
  std::string out;
  out.reserve(plain_octets(path.mailbox));
  append_wire(out, path);
  return out;
}

std::expected<ParsedPath, PathError> parse_mail_argument(std::string_view argument, bool allow_utf8) {
  return parse_argument(argument, Direction::reverse, allow_utf8);
}

std::expected<ParsedPath, PathError> parse_rcpt_argument(std::string_view argument, bool allow_utf8) {
  return parse_argument(argument, Direction::forward, allow_utf8);
}

std::expected<Mailbox, PathError> parse_mailbox(std::string_view text, bool allow_utf8) {
  Cursor cursor(text, allow_utf8);
  Mailbox parsed;
  if (!mailbox(cursor, parsed) || !cursor.at_end()) return std::unexpected(cursor.error());
  if (is_too_long(parsed)) return std::unexpected(PathError::too_long);
  return parsed;
}

bool is_valid_domain(std::string_view domain, bool allow_utf8) {
  if (domain.empty() || domain.size() > limits::domain_octets) return false;
  if (domain.front() == '[') return is_valid_address_literal(domain);
  if (domain.back() == '.') return false;
  std::size_t label = 0;  // where it begins
  for (std::size_t at = 0;; ++at) {
    while (at < domain.size() && (is_alnum(domain[at]) || domain[at] == '_')) ++at;
    const bool end = at == domain.size();
    const char c = end ? '.' : domain[at];
    if (!is_ascii(c)) return allow_utf8 && is_valid_utf8_domain(domain);
    if (at == label || (c != '.' && c != '-')) return false;
    if (c == '-') continue;
    if (domain[at - 1] == '-' || at - label > label_octets) return false;
    if (end) return true;
    label = at + 1;
  }
}

}  // namespace portcullis::smtp
