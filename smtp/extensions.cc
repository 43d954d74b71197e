#include "smtp/extensions.h"

#include <algorithm>
#include <charconv>

#include "smtp/ascii.h"

namespace portcullis::smtp {
namespace {

// Extensions that are a keyword and nothing more: one row each.
struct Flag {
  std::string_view keyword;
  bool Extensions::* member;
};
constexpr Flag flags[] = {
    {"PIPELINING", &Extensions::pipelining},
    {"8BITMIME", &Extensions::eight_bit_mime},
    {"SMTPUTF8", &Extensions::smtputf8},
    {"CHUNKING", &Extensions::chunking},
    {"BINARYMIME", &Extensions::binarymime},
    {"DSN", &Extensions::dsn},
    {"ENHANCEDSTATUSCODES", &Extensions::enhanced_status_codes},
    {"STARTTLS", &Extensions::starttls},
    {"REQUIRETLS", &Extensions::requiretls},
    {"VRFY", &Extensions::vrfy},
    {"HELP", &Extensions::help},
};

struct NamedBit {
  std::string_view name;
  std::uint16_t bit;
};
constexpr NamedBit mechanisms[] = {
    {"PLAIN", mech_plain},       {"LOGIN", mech_login},
    {"XOAUTH2", mech_xoauth2},   {"OAUTHBEARER", mech_oauthbearer},
    {"EXTERNAL", mech_external},
};
constexpr NamedBit x_attributes[] = {
    {"NAME", x_name},         {"ADDR", x_addr},         {"PORT", x_port},     {"PROTO", x_proto},
    {"HELO", x_helo},         {"IDENT", x_ident},       {"SOURCE", x_source}, {"LOGIN", x_login},
    {"DESTADDR", x_destaddr}, {"DESTPORT", x_destport},
};

template <std::size_t N>
std::uint16_t bit_of(std::string_view name, const NamedBit (&table)[N]) {
  for (const NamedBit& row : table) {
    if (equals_ignoring_case(name, row.name)) return row.bit;
  }
  return 0;
}

template <std::size_t N>
std::uint16_t bits_of(std::string_view words, const NamedBit (&table)[N]) {
  std::uint16_t bits = 0;
  while (!words.empty()) {
    bits = static_cast<std::uint16_t>(bits | bit_of(next_token(words, ' '), table));
  }
  return bits;
}

// RFC 1870 4: a missing or zero value is "no fixed limit"; so is one beyond what we can count.
std::uint64_t size_of(std::string_view value) {
  value = value.substr(0, value.find(' '));
  std::uint64_t octets = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), octets);
  return error == std::errc() && end == value.data() + value.size() ? octets : 0;
}

void read_keyword(std::string_view line, Extensions& out) {
  std::string_view rest = line;
  const std::string_view keyword = next_token(rest, ' ');
  if (equals_ignoring_case(keyword, "SIZE")) {
    out.size = size_of(rest);
  } else if (equals_ignoring_case(keyword, "AUTH")) {
    out.auth = static_cast<std::uint8_t>(out.auth | bits_of(rest, mechanisms));
  } else if (equals_ignoring_case(keyword, "XFORWARD")) {
    out.xforward = static_cast<std::uint16_t>(out.xforward | bits_of(rest, x_attributes));
  } else if (equals_ignoring_case(keyword, "XCLIENT")) {
    out.xclient = static_cast<std::uint16_t>(out.xclient | bits_of(rest, x_attributes));
  } else {
    for (const Flag& flag : flags) {
      if (equals_ignoring_case(keyword, flag.keyword)) out.*flag.member = true;
    }
  }
}

template <std::size_t N>
void append_words(std::string& out, std::string_view keyword, std::uint16_t bits,
                  const NamedBit (&table)[N]) {
  if (bits == 0) return;
  out += '\n';
  out += keyword;
  for (const NamedBit& row : table) {
    if ((bits & row.bit) == 0) continue;
    out += ' ';
    out += row.name;
  }
}

}  // namespace

std::uint16_t x_attribute_by_name(std::string_view name) { return bit_of(name, x_attributes); }

Extensions parse_ehlo_reply(const Reply& reply) {
  Extensions out;
  if (!reply.positive()) return out;
  out.esmtp = true;
  std::string_view lines = reply.text;
  next_token(lines, '\n');  // the greeting
  while (!lines.empty()) read_keyword(next_token(lines, '\n'), out);
  return out;
}

Reply render_ehlo(const Extensions& offered, std::string_view greeting) {
  Reply reply{.code = 250, .enhanced = {}, .text = std::string(greeting)};
  std::string& text = reply.text;
  text.reserve(greeting.size() + 256);
  std::ranges::replace(text, '\n', ' ');  // the greeting is one line, whoever is named in it
  if (!offered.esmtp) return reply;
  for (const Flag& flag : flags) {
    if (!(offered.*flag.member)) continue;
    text += '\n';
    text += flag.keyword;
  }
  if (offered.size) {
    text += "\nSIZE";
    if (*offered.size > 0) text += ' ' + std::to_string(*offered.size);
  }
  append_words(text, "AUTH", offered.auth, mechanisms);
  append_words(text, "XFORWARD", offered.xforward, x_attributes);
  append_words(text, "XCLIENT", offered.xclient, x_attributes);
  return reply;
}

}  // namespace portcullis::smtp
