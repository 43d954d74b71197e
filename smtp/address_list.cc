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
  AuthorListParser(std::string_view text, const AuthorOptions& options) : rest_(text), options_(options) {}

  std::expected<std::vector<HeaderMailbox>, std::string_view> parse() {
    std::vector<HeaderMailbox> mailboxes;
    if (options_.nobody && AuthorListParser(rest_, options_).names_nobody()) return mailboxes;
    do {
      if (mailboxes.size() == limits::header_mailboxes) return std::unexpected("too many mailboxes");
      skip_blanks();
      if (!parse_mailbox(mailboxes.emplace_back())) return std::unexpected(fault_);
    } while (take(','));
    if (!rest_.empty()) return std::unexpected("text after the address");
    return mailboxes;
  }

 private:
  bool names_nobody();
  bool parse_mailbox(HeaderMailbox& out);
  bool plain_mailbox(HeaderMailbox& out);
  bool name_and_angle(HeaderMailbox& out);
  bool angle_address(Mailbox& out);
  bool address(Mailbox& out);
  bool local_part(std::string& out);
  bool domain(std::string& out);
  bool name(std::string& out, std::string& judged);
  bool words(std::string& out, std::string& judged);
  bool quoted_string(std::string& plain, std::string& judged);
  bool comment(std::string& out);
  bool trailing_comments(std::string& first);
  bool is_harmless(std::string_view judged, DisplayText kind, std::string_view own);
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
  AuthorOptions options_;
  std::vector<std::string> comments_;  // of the mailbox at hand, judged when its address is known
  std::string_view fault_;
};

// What mail systems call themselves in notices. A next server that completes such a name with its own domain
// makes it the mailbox of a mail system, not of a person.
bool is_mail_system(std::string_view name) {
  constexpr std::string_view names[] = {
      "mailer-daemon",           "postmaster",  "mailer daemon",        "mail delivery system",
      "mail delivery subsystem", "mail system", "system administrator", "mail administrator"};
  return std::ranges::any_of(names,
                             [name](std::string_view known) { return equals_ignoring_case(name, known); });
}

std::size_t AuthorListParser::utf8_octets(std::string_view text, bool in_address) const {
  if ((in_address && !options_.smtputf8) || text.empty() || is_ascii(text.front())) return 0;
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

// [name] and no address, or one without a domain: a mail system's. "<@>" is Courier's.
bool AuthorListParser::names_nobody() {
  skip_blanks();
  std::string name, judged, ignored;
  if (!words(name, judged)) return false;
  if (take('<')) {
    const std::string_view inside = rest_.substr(0, take('@') ? 0 : word_octets(rest_, true));
    rest_.remove_prefix(inside.size());
    if (!(inside.empty() || is_mail_system(inside)) || !take('>')) return false;
    if (!trailing_comments(ignored)) return false;
  } else if (take(':')) {  // an empty group (RFC 6854)
    skip_blanks();
    if (!take(';')) return false;
    skip_blanks();
  } else if (!rest_.empty() || !(judged.empty() || is_mail_system(name))) {
    return false;
  }
  return rest_.empty() && is_harmless(judged, DisplayText::nobody, {});
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
  comments_.clear();
  return starts_address() ? plain_mailbox(out) : name_and_angle(out);
}

// addr-spec, also in the old form with the name in a comment after it: "joe@example.com (Joe)". Then
// "joe@example.com <joe@example.com>", which no grammar has and many send: fine while both agree. Case makes
// no other author.
bool AuthorListParser::plain_mailbox(HeaderMailbox& out) {
  const std::string_view start = rest_;
  if (!address(out.mailbox)) return false;
  const std::string_view text = start.substr(0, start.size() - rest_.size());
  skip_blanks();
  if (peek() == '<') {
    Mailbox second;
    if (!angle_address(second)) return false;
    if (!equals_ignoring_case(second.local, out.mailbox.local) ||
        !equals_ignoring_case(second.domain, out.mailbox.domain)) {
      return fail("two different addresses in one mailbox");
    }
    out.mailbox = std::move(second);
    out.display_name = text;
    skip_blanks();
    return true;
  }
  return trailing_comments(out.display_name) && is_harmless({}, DisplayText::name, text);
}

// [display-name] angle-addr
bool AuthorListParser::name_and_angle(HeaderMailbox& out) {
  std::string ignored, judged;
  if (!name(out.display_name, judged)) return false;
  const std::string_view start = rest_;
  if (!angle_address(out.mailbox)) return false;
  const std::string_view own = start.substr(1, start.size() - rest_.size() - 2);
  return trailing_comments(out.display_name.empty() ? out.display_name : ignored) &&
         is_harmless(judged, DisplayText::name, own);
}

// The name as it was written and the comments around it, beside the address `own`.
bool AuthorListParser::is_harmless(std::string_view judged, DisplayText kind, std::string_view own) {
  std::string_view fault = display_text_fault(judged, kind, own);
  for (const std::string& text : comments_) {
    if (fault.empty()) fault = display_text_fault(text, DisplayText::comment, own);
  }
  return fault.empty() || fail(fault);
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
  if (!is_ascii(peek())) return fail("octets above 127 in an address");
  return peek() == '@' || fail("a malformed address");
}

bool AuthorListParser::domain(std::string& out) {
  const std::size_t length =
      peek() == '[' ? std::min(rest_.find(']'), rest_.size() - 1) + 1 : run_octets(rest_, domain_octet, true);
  out = rest_.substr(0, length);
  rest_.remove_prefix(length);
  if (!is_ascii(peek())) return fail("octets above 127 in an address");
  return is_valid_domain(out, options_.smtputf8) || fail("a malformed domain");
}

// Words, quoted strings and (after the first word) comments. RFC 5322 3.2.5 phrase, with what obs-phrase
// adds without harm: '.' in words. Not '[', where some readers end the name.
bool AuthorListParser::words(std::string& out, std::string& judged) {
  const auto separate = [](std::string& text) {
    if (!text.empty()) text += ' ';
  };
  for (;; skip_blanks()) {
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
      if (length == 0) return true;
      separate(out);
      separate(judged);
      out += rest_.substr(0, length);
      judged += rest_.substr(0, length);
      rest_.remove_prefix(length);
    }
  }
}

// Words up to '<'.
bool AuthorListParser::name(std::string& out, std::string& judged) {
  if (!words(out, judged)) return false;
  switch (peek()) {
    case '<':
      return true;
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

// Comments nest (RFC 5322 3.2.2). What stands in one is judged when the address beside it is known.
bool AuthorListParser::comment(std::string& out) {
  std::size_t depth = 0, end = 0;
  do {
    end = rest_.find_first_of("()\\", end);
    if (end == std::string_view::npos) return fail("an unterminated comment");
    if (rest_[end] == '\\') return fail("a special character in a comment");
    if (rest_[end++] == '(') {
      ++depth;
    } else {
      --depth;
    }
  } while (depth > 0);
  out = rest_.substr(1, end - 2);
  rest_.remove_prefix(end);
  for (std::string_view left = out; !left.empty();) {
    const std::size_t octets = is_ascii(left.front()) ? 1 : utf8_octets(left, false);
    if (octets == 0) return fail("octets above 127 that may not stand there");
    left.remove_prefix(octets);
  }
  comments_.push_back(out);
  return true;
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
                                                                              const AuthorOptions& options) {
  if (has_eight_bit(text) && !is_valid_utf8(text))
    return std::unexpected("octets above 127 that are no UTF-8");
  return AuthorListParser(text, options).parse();
}

}  // namespace portcullis::smtp
