// The argument of XCLIENT as a trusted proxy sends it (Postfix XCLIENT_README, "XCLIENT Command
// syntax"): attributes as name=value, values as xtext.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace portcullis::smtp {

// What is told, decoded. Empty: not told, or "[UNAVAILABLE]" / "[TEMPUNAVAIL]".
struct XClientAttributes {
  std::string name;  // host name
  std::string addr;  // "192.0.2.1" or "2001:db8::1", the prefix "IPV6:" taken off; not checked further
  std::optional<std::uint16_t> port;
  std::string proto;  // "SMTP" or "ESMTP"
  std::string helo;
  std::string login;
};

// The error says what is wrong, ready for a reply: a name that is not known or comes twice, a value that
// is no xtext or has control characters, a port that is none, no attribute at all.
std::expected<XClientAttributes, std::string> parse_xclient(std::string_view argument);

}  // namespace portcullis::smtp
