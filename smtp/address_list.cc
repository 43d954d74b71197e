#include "smtp/address_list.h"

#include <algorithm>
#include <array>
#include <string>

#include "smtp/ascii.h"
#include "smtp/display_text.h"
#include "smtp/limits.h"
#include "smtp/utf8.h"

namespace portcullis::smtp {
namespace {

// Code points that some readers turn into ASCII, a dot or nothing, or take for white space.
bool is_confusable(char32_t point) {
  struct Range {
    char32_t first, last;
  };
  constexpr Range ranges[] = {
      {0x80, 0xa0},     {0xad, 0xad},     {0x1680, 0x1680}, {0x180e, 0x180e}, {0x2000, 0x200f},
      {0x2024, 0x2024}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000}, {0x3002, 0x3002},
      {0xfe52, 0xfe6b}, {0xfeff, 0xfeff}, {0xff01, 0xff61},
  };
  return std::ranges::any_of(ranges, [&](Range r) { return point >= r.first && point <= r.last; });
}

// What words of names and addresses are made of: atext and dots; and domains, hyphens and underscores
// anywhere: is_valid_domain() has the rest.
constexpr auto word_octet = [] {
  std::array<bool, 256> table = atext_table;
  table['.'] = true;
  return table;
}();
constexpr auto domain_octet = [] {
  std::array<bool, 256> table = alnum_table;
  for (const char c : std::string_view("-_.")) table[static_cast<unsigned char>(c)] = true;
  return table;
}();

class AuthorListParser {
 public:
  AuthorListParser(std::string_view text, bool smtputf8) : rest_(text), smtputf8_(smtputf8) {}

  std::expected<std::vector<HeaderMailbox>, std::string_view> parse() {
    std::vector<HeaderMailbox> mailboxes;
    do {
      if (mailboxes.size() == limits::header_mailboxes) return std::unexpected("too many mailboxes");
      skip_blanks();
      if (!parse_mailbox(mailboxes.emplace_back())) return std::unexpected(fault_);
    } while (take(','));
    if (!rest_.empty()) return std::unexpected("text after the address");
    return mailboxes;
  }

 private:
  bool parse_mailbox(HeaderMailbox& out);
  bool plain_mailbox(HeaderMailbox& out);
  bool name_and_angle(HeaderMailbox& out);
  bool angle_address(Mailbox& out);
  bool address(Mailbox& out);
  bool local_part(std::string& out);
  bool domain(std::string& out);
  bool name(std::string& out);
  bool quoted_string(std::string& plain, std::string& judged);
  bool comment(std::string& out);
  bool trailing_comments(std::string& first);
  bool starts_address() const;

  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
  }
  bool fail(std::string_view fault) {
    fault_ = fault;
    return false;
  }
  // Octets of a character above ASCII at the front of `text` that may stand in a name (`address`
  // false) or an address; 0 when there is none.
  std::size_t utf8_octets(std::string_view text, bool in_address) const;
  // Length of the run of such characters and octets of `ascii`.
  std::size_t run_octets(std::string_view text, const std::array<bool, 256>& ascii, bool in_address) const;
  std::size_t word_octets(std::string_view text, bool in_address) const {
    return run_octets(text, word_octet, in_address);
  }

  std::string_view rest_;
  bool smtputf8_;
  std::string_view fault_;
};

std::size_t AuthorListParser::utf8_octets(std::string_view text, bool in_address) const {
  if (!smtputf8_ || text.empty() || is_ascii(text.front())) return 0;
  const std::size_t octets = utf8_printable_octets(text);
  if (octets == 0) return 0;
  const char32_t point = utf8_code_point(text.substr(0, octets));
  const bool line_end = point == 0x2028 || point == 0x2029;
  const bool odd = is_confusable(point) || utf8_visible_octets(text) == 0;
  return line_end || (in_address && odd) ? 0 : octets;
}

std::size_t AuthorListParser::run_octets(std::string_view text, const std::array<bool, 256>& ascii,
                                         bool in_address) const {
  std::size_t length = 0;
  while (length < text.size()) {
    const bool plain = ascii[static_cast<unsigned char>(text[length])];
    const std::size_t octets = plain ? 1 : utf8_octets(text.substr(length), in_address);
    if (octets == 0) break;
    length += octets;
  }
  return length;
}

// Whether what comes is a local part and '@', rather than a name.
bool AuthorListParser::starts_address() const {
  std::size_t length = 0;
  if (rest_.starts_with('"')) {
    for (length = 1; length < rest_.size() && rest_[length] != '"'; ++length) {
      if (rest_[length] == '\\') ++length;
    }
    ++length;
  } else {
    length = word_octets(rest_, false);
  }
  return length > 0 && length < rest_.size() && rest_[length] == '@';
}

bool AuthorListParser::parse_mailbox(HeaderMailbox& out) {
  if (rest_.empty()) return fail("no address");
  return starts_address() ? plain_mailbox(out) : name_and_angle(out);
}

// addr-spec, also in the old form with the name in a comment after it: "joe@example.com (Joe)". Then
// "joe@example.com <joe@example.com>", which no grammar has and many send: fine while both agree.
bool AuthorListParser::plain_mailbox(HeaderMailbox& out) {
  const std::string_view start = rest_;
  if (!address(out.mailbox)) return false;
  const std::string_view text = start.substr(0, start.size() - rest_.size());
  skip_blanks();
  if (peek() == '<') {
    Mailbox second;
    if (!angle_address(second)) return false;
    if (second.local != out.mailbox.local || !equals_ignoring_case(second.domain, out.mailbox.domain)) {
      return fail("two different addresses in one mailbox");
    }
    out.mailbox = std::move(second);
    out.display_name = text;
    skip_blanks();
    return true;
  }
  return trailing_comments(out.display_name);
}

// [display-name] angle-addr
bool AuthorListParser::name_and_angle(HeaderMailbox& out) {
  std::string ignored;
  return name(out.display_name) && angle_address(out.mailbox) &&
         trailing_comments(out.display_name.empty() ? out.display_name : ignored);
}

bool AuthorListParser::angle_address(Mailbox& out) {
  if (!take('<')) return fail("a name without an address");
  if (peek() == '@') return fail("a source route");
  if (peek() == '>') return fail("an empty address");
  if (!starts_address()) return fail("a malformed address");
  if (!address(out)) return false;
  return take('>') || fail("a malformed address");
}

bool AuthorListParser::address(Mailbox& out) {
  if (!local_part(out.local) || !take('@') || !domain(out.domain)) return false;
  return out.local.size() + out.domain.size() < limits::path_octets || fail("an address too long");
}

// Atoms and dots in any order ("a..b", old Japanese mobile addresses), or the same in quotes. Any other
// quoted local part is read differently by those who look for an '@', a blank or a bracket first.
bool AuthorListParser::local_part(std::string& out) {
  const bool quoted = take('"');
  const std::size_t length = word_octets(rest_, true);
  out = rest_.substr(0, length);
  rest_.remove_prefix(length);
  if (quoted && (length == 0 || !take('"'))) return fail("a quoted local part with special characters");
  if (out.contains("=?")) return fail("an encoded word in an address");
  return peek() == '@' || fail("a malformed address");
}

bool AuthorListParser::domain(std::string& out) {
  const std::size_t length =
      peek() == '[' ? std::min(rest_.find(']'), rest_.size() - 1) + 1 : run_octets(rest_, domain_octet, true);
  out = rest_.substr(0, length);
  rest_.remove_prefix(length);
  return is_valid_domain(out, smtputf8_) || fail("a malformed domain");
}

// Words, quoted strings and (after the first word) comments, up to '<'. RFC 5322 3.2.5 phrase, with
// what obs-phrase adds without harm: '.' in words. Not '[', where some readers end the name.
bool AuthorListParser::name(std::string& out) {
  std::string judged;
  const auto separate = [](std::string& words) {
    if (!words.empty()) words += ' ';
  };
  while (peek() != '<') {
    if (peek() == '"') {
      const std::size_t before = out.size();
      separate(out);
      const std::size_t begin = out.size();
      separate(judged);
      if (!quoted_string(out, judged)) return false;
      if (out.size() == begin) out.resize(before);
    } else if (peek() == '(') {
      if (judged.empty()) return fail("a comment before the name");
      std::string text;
      if (!comment(text)) return false;
      separate(judged);
      judged += text;
    } else {
      const std::size_t length = word_octets(rest_, false);
      if (length == 0) break;
      separate(out);
      separate(judged);
      out += rest_.substr(0, length);
      judged += rest_.substr(0, length);
      rest_.remove_prefix(length);
    }
    skip_blanks();
  }
  switch (peek()) {
    case '<':
      break;
    case ':':
    case ';':
      return fail("a group");
    case '@':
      return fail("an '@' in an unquoted name");
    case ',':
    case '\0':
      return fail(judged.empty() ? "no address" : "a name without an address");
    default:
      return fail(is_ascii(peek()) ? "a special character in an unquoted name"
                                   : "octets above 127 that may not stand there");
  }
  const auto fault = display_text_fault(judged, DisplayText::name);
  return fault.empty() || fail(fault);
}

// The content is appended to `plain` without backslashes, to `judged` with them.
bool AuthorListParser::quoted_string(std::string& plain, std::string& judged) {
  take('"');
  while (!take('"')) {
    if (rest_.empty()) return fail("an unterminated quoted string");
    if (take('\\')) {
      if (rest_.empty() || !is_ascii(peek()) || is_control(peek())) return fail("a malformed quoted string");
      judged += '\\';
    }
    const std::size_t octets = is_ascii(peek()) ? 1 : utf8_octets(rest_, false);
    if (octets == 0) return fail("octets above 127 that may not stand there");
    plain += rest_.substr(0, octets);
    judged += rest_.substr(0, octets);
    rest_.remove_prefix(octets);
  }
  return true;
}

// A comment in which nothing has a meaning to a reader that knows no comments.
bool AuthorListParser::comment(std::string& out) {
  take('(');
  const std::size_t end = rest_.find(')');
  if (end == std::string_view::npos) return fail("an unterminated comment");
  out = rest_.substr(0, end);
  rest_.remove_prefix(end + 1);
  for (std::string_view left = out; !left.empty();) {
    const std::size_t octets = is_ascii(left.front()) ? 1 : utf8_octets(left, false);
    if (octets == 0) return fail("octets above 127 that may not stand there");
    left.remove_prefix(octets);
  }
  const auto fault = display_text_fault(out, DisplayText::comment);
  return fault.empty() || fail(fault);
}

// Comments after an address; the first one is taken for the name.
bool AuthorListParser::trailing_comments(std::string& first) {
  skip_blanks();
  while (peek() == '(') {
    std::string text;
    if (!comment(text)) return false;
    if (first.empty()) first = std::move(text);
    skip_blanks();
  }
  return true;
}

}  // namespace

std::expected<std::vector<HeaderMailbox>, std::string_view> parse_author_list(std::string_view text,
                                                                              bool smtputf8) {
  return AuthorListParser(text, smtputf8).parse();
}

}  // namespace portcullis::smtp
