// ESMTP parameters of MAIL and RCPT (RFC 5321 4.1.2; SIZE 1870, BODY 6152/3030, SMTPUTF8 6531,
// AUTH 4954, RET/ENVID/NOTIFY/ORCPT 3461). Refuses what was not offered, duplicates and bad values.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "smtp/extensions.h"
#include "smtp/reply.h"

namespace portcullis::smtp {

enum class Body : std::uint8_t { seven_bit, eight_bit_mime };

struct MailParameters {
  std::optional<std::uint64_t> size_octets;
  std::optional<Body> body;
  bool smtputf8 = false;
  std::optional<std::string> auth;   // decoded xtext; "<>" kept as "<>"
  std::optional<std::string> ret;    // "FULL" or "HDRS"
  std::optional<std::string> envid;  // as xtext, checked, in the spelling of RFC 3461
};

struct RcptParameters {
  std::optional<std::string> notify;  // checked, re-sent as is
  std::optional<std::string> orcpt;   // checked, in the spelling of RFC 3461
};

// `text` is ParsedPath::parameters; `offered` what our EHLO said. The error is the reply to send:
// 555 5.5.4 for unknown or not offered, 501 5.5.4 for syntax.
std::expected<MailParameters, Reply> parse_mail_parameters(std::string_view text, const Extensions& offered);
std::expected<RcptParameters, Reply> parse_rcpt_parameters(std::string_view text, const Extensions& offered);

// True when the parameter SMTPUTF8 is present: needed before the path can be parsed.
bool has_smtputf8_parameter(std::string_view mail_argument);

// BDAT's argument (RFC 3030): "size [LAST]".
struct BdatArgument {
  std::uint64_t size_octets = 0;
  bool last = false;
};
std::optional<BdatArgument> parse_bdat_argument(std::string_view argument);

// xtext (RFC 3461 section 4). Reading it, lower-case digits and a bare '=' pass: mail servers write them.
std::string encode_xtext(std::string_view text);
std::optional<std::string> decode_xtext(std::string_view text);

}  // namespace portcullis::smtp
