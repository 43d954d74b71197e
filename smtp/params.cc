#include "smtp/params.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "smtp/ascii.h"
#include "smtp/limits.h"
#include "smtp/octet_search.h"
#include "smtp/utf8.h"

namespace portcullis::smtp {
namespace {

constexpr std::size_t envid_octets = 100;   // RFC 3461 4.4, before encoding
constexpr std::size_t orcpt_octets = 500;   // RFC 3461 4.2
constexpr std::size_t keyword_octets = 32;  // of an unknown keyword, quoted in the reply
constexpr std::size_t size_digits = 20;     // RFC 1870 3, RFC 3030 2

enum class Outcome : std::uint8_t { ok, not_offered, bad };

// `text`, which decode_xtext takes, as RFC 3461 section 4 writes it.
std::string canonical_xtext(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '+') {
      out += {'+', to_upper(text[at + 1]), to_upper(text[at + 2])};
      at += 2;
    } else if (text[at] == '=') {
      out += "+3D";
    } else {
      out += text[at];
    }
  }
  return out;
}

Outcome checked(bool ok) { return ok ? Outcome::ok : Outcome::bad; }

// One "KEYWORD" or "KEYWORD=value" of RFC 5321 4.1.2.
struct Parameter {
  std::string_view keyword;
  std::string_view value;
  bool has_value = false;
};

std::optional<std::uint64_t> parse_octets(std::string_view digits) {
  if (digits.empty() || digits.size() > size_digits || !std::ranges::all_of(digits, is_digit)) return {};
  std::uint64_t octets = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), octets);
  if (error != std::errc()) return std::nullopt;
  return octets;
}

Outcome read_size(const Parameter& p, const Extensions& offered, MailParameters& out) {
  if (!offered.size) return Outcome::not_offered;
  out.size_octets = parse_octets(p.value);
  return checked(out.size_octets.has_value());
}

Outcome read_body(const Parameter& p, const Extensions& offered, MailParameters& out) {
  if (!offered.eight_bit_mime) return Outcome::not_offered;
  if (equals_ignoring_case(p.value, "7BIT")) {
    out.body = Body::seven_bit;
  } else if (equals_ignoring_case(p.value, "8BITMIME")) {
    out.body = Body::eight_bit_mime;
  } else {
    // BINARYMIME (RFC 3030) is known and never offered.
    return equals_ignoring_case(p.value, "BINARYMIME") ? Outcome::not_offered : Outcome::bad;
  }
  return Outcome::ok;
}

Outcome read_smtputf8(const Parameter& p, const Extensions& offered, MailParameters& out) {
  if (!offered.smtputf8) return Outcome::not_offered;
  out.smtputf8 = !p.has_value;  // RFC 6531 3.4: takes no value
  return checked(out.smtputf8);
}

Outcome read_auth(const Parameter& p, const Extensions& offered, MailParameters& out) {
  if (offered.auth == 0) return Outcome::not_offered;
  if (p.value == "<>") {
    out.auth = "<>";
    return Outcome::ok;
  }
  out.auth = decode_xtext(p.value);
  if (!out.auth || out.auth->empty() || out.auth->size() > limits::login_octets) return Outcome::bad;
  return checked(std::ranges::none_of(*out.auth, is_control) && is_valid_utf8(*out.auth));
}

Outcome read_ret(const Parameter& p, const Extensions& offered, MailParameters& out) {
  if (!offered.dsn) return Outcome::not_offered;
  for (const std::string_view known : {"FULL", "HDRS"}) {
    if (equals_ignoring_case(p.value, known)) out.ret = known;
  }
  return checked(out.ret.has_value());
}

Outcome read_envid(const Parameter& p, const Extensions& offered, MailParameters& out) {
  if (!offered.dsn) return Outcome::not_offered;
  const std::optional<std::string> decoded = decode_xtext(p.value);
  if (!decoded || decoded->empty() || decoded->size() > envid_octets) return Outcome::bad;
  if (!std::ranges::all_of(*decoded, [](char c) { return c == ' ' || is_visible(c); })) return Outcome::bad;
  out.envid = canonical_xtext(p.value);
  return Outcome::ok;
}

// "NEVER" alone, or SUCCESS, FAILURE, DELAY in any order, each at most once (RFC 3461 4.1).
Outcome read_notify(const Parameter& p, const Extensions& offered, RcptParameters& out) {
  if (!offered.dsn) return Outcome::not_offered;
  constexpr std::string_view conditions[] = {"SUCCESS", "FAILURE", "DELAY"};
  if (!equals_ignoring_case(p.value, "NEVER")) {
    unsigned seen = 0;
    std::string_view rest = p.value;
    if (rest.empty() || rest.back() == ',') return Outcome::bad;
    while (!rest.empty()) {
      const std::string_view word = next_token(rest, ',');
      const auto* const found = std::ranges::find_if(
          conditions, [word](std::string_view known) { return equals_ignoring_case(word, known); });
      const unsigned bit = 1U << static_cast<unsigned>(found - std::begin(conditions));
      if (found == std::end(conditions) || (seen & bit) != 0) return Outcome::bad;
      seen |= bit;
    }
  }
  out.notify = p.value;
  return Outcome::ok;
}

// addr-type ";" xtext (RFC 3461 4.2). The utf-8-addr-xtext of RFC 6533 is xtext as well.
Outcome read_orcpt(const Parameter& p, const Extensions& offered, RcptParameters& out) {
  if (!offered.dsn) return Outcome::not_offered;
  std::string_view address = p.value;
  const std::string_view type = next_token(address, ';');
  const auto is_atom_octet = [](char c) { return is_alnum(c) || c == '-' || c == '.' || c == '_'; };
  if (p.value.size() > orcpt_octets || type.empty() || !std::ranges::all_of(type, is_atom_octet)) {
    return Outcome::bad;
  }
  const std::optional<std::string> decoded = decode_xtext(address);
  if (!decoded || decoded->empty() || std::ranges::any_of(*decoded, is_control)) return Outcome::bad;
  out.orcpt = std::string(type) + ';' + canonical_xtext(address);
  return Outcome::ok;
}

// The table of a command: a row is a parameter.
template <typename Parameters>
struct Row {
  std::string_view keyword;
  Outcome (*read)(const Parameter&, const Extensions&, Parameters&);
};
constexpr Row<MailParameters> mail_rows[] = {
    {"SIZE", read_size}, {"BODY", read_body}, {"SMTPUTF8", read_smtputf8},
    {"AUTH", read_auth}, {"RET", read_ret},   {"ENVID", read_envid},
};
constexpr Row<RcptParameters> rcpt_rows[] = {{"NOTIFY", read_notify}, {"ORCPT", read_orcpt}};

Reply refusal(std::uint16_t code, std::string_view what, std::string_view keyword) {
  std::string text(what);
  text += keyword.substr(0, keyword_octets);
  return {.code = code, .enhanced = "5.5.4", .text = std::move(text)};
}

template <typename Parameters, std::size_t N>
std::expected<Parameters, Reply> parse(std::string_view text, const Extensions& offered,
                                       const Row<Parameters> (&rows)[N]) {
  Parameters out;
  unsigned seen = 0;
  while (!text.empty()) {
    const std::string_view token = next_token(text, ' ');
    if (token.empty()) continue;  // more blanks than needed separate just as well
    if (!std::ranges::all_of(token, is_visible)) {
      return std::unexpected(Reply{.code = 501, .enhanced = "5.5.4", .text = "Bad octet in parameters"});
    }
    const std::size_t equals = token.find('=');
    Parameter p{
        .keyword = token.substr(0, equals), .value = {}, .has_value = equals != std::string_view::npos};
    if (p.has_value) p.value = token.substr(equals + 1);
    const auto* const row = std::ranges::find_if(
        rows, [&p](const Row<Parameters>& r) { return equals_ignoring_case(p.keyword, r.keyword); });
    if (row == std::end(rows)) return std::unexpected(refusal(555, "Parameter not recognised: ", p.keyword));
    const unsigned bit = 1U << static_cast<unsigned>(row - std::begin(rows));
    if ((seen & bit) != 0) return std::unexpected(refusal(501, "Parameter given twice: ", row->keyword));
    seen |= bit;
    switch (row->read(p, offered, out)) {
      case Outcome::ok:
        break;
      case Outcome::not_offered:
        return std::unexpected(refusal(555, "Not offered here: ", token));
      case Outcome::bad:
        return std::unexpected(refusal(501, "Bad value for ", row->keyword));
    }
  }
  return out;
}

}  // namespace

std::expected<MailParameters, Reply> parse_mail_parameters(std::string_view text, const Extensions& offered) {
  return parse<MailParameters>(text, offered, mail_rows);
}

std::expected<RcptParameters, Reply> parse_rcpt_parameters(std::string_view text, const Extensions& offered) {
  return parse<RcptParameters>(text, offered, rcpt_rows);
}

bool has_smtputf8_parameter(std::string_view mail_argument) {
  // The parameters begin after the '>', or the blank where there are no brackets, that is not inside a quoted
  // string.
  std::size_t at = std::min(mail_argument.find(':'), mail_argument.size());
  at = std::min(mail_argument.find_first_not_of(": \t", at), mail_argument.size());
  if (at == mail_argument.size()) return false;
  const char end = mail_argument[at] == '<' ? '>' : ' ';
  for (bool quoted = false;; ++at) {
    at = find_octet<OneOf<'>', ' ', '"', '\\'>>(mail_argument, at);
    if (at >= mail_argument.size()) return false;
    if (mail_argument[at] == end && !quoted) break;
    if (mail_argument[at] == '"') quoted = !quoted;
    if (mail_argument[at] == '\\' && quoted) ++at;
  }
  std::string_view parameters = mail_argument.substr(at + 1);
  while (!parameters.empty()) {
    if (equals_ignoring_case(next_token(parameters, ' '), "SMTPUTF8")) return true;
  }
  return false;
}

std::optional<BdatArgument> parse_bdat_argument(std::string_view argument) {
  const std::optional<std::uint64_t> octets = parse_octets(next_token(argument, ' '));
  while (argument.starts_with(' ')) argument.remove_prefix(1);
  if (!octets || !(argument.empty() || equals_ignoring_case(argument, "LAST"))) return std::nullopt;
  return BdatArgument{.size_octets = *octets, .last = !argument.empty()};
}

std::string encode_xtext(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (is_visible(c) && c != '+' && c != '=') {
      out += c;
    } else {
      const auto octet = static_cast<unsigned char>(c);
      out += {'+', digits[octet >> 4U], digits[octet & 15U]};
    }
  }
  return out;
}

std::optional<std::string> decode_xtext(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!is_visible(text[at])) return std::nullopt;
    if (text[at] != '+') {
      out += text[at];
      continue;
    }
    if (text.size() - at < 3) return std::nullopt;
    const int high = hex_value(text[at + 1]);
    const int low = hex_value(text[at + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    at += 2;
  }
  return out;
}

}  // namespace portcullis::smtp
