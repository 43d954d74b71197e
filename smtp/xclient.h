// The arguments of XCLIENT and XFORWARD as a trusted proxy sends them (Postfix XCLIENT_README and
// XFORWARD_README, "Command syntax"): attributes as name=value, values as xtext.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "smtp/extensions.h"

namespace portcullis::smtp {

inline constexpr std::uint16_t xclient_attributes_taken =
    x_name | x_addr | x_port | x_proto | x_helo | x_login;
inline constexpr std::uint16_t xforward_attributes_taken =
    x_name | x_addr | x_port | x_proto | x_helo | x_ident | x_source;

// What is told, decoded. Empty: not told, or "[UNAVAILABLE]" / "[TEMPUNAVAIL]".
struct XAttributes {
  std::uint16_t told = 0;  // XAttributeBit, of those that came, with a value or without
  std::string name;        // host name
  std::string addr;        // "192.0.2.1" or "2001:db8::1", the prefix "IPV6:" taken off; not checked further
  std::optional<std::uint16_t> port;
  std::string proto;  // "SMTP" or "ESMTP"
  std::string helo;
  std::string login;   // XCLIENT only
  std::string ident;   // XFORWARD only: the id of the message there
  std::string source;  // XFORWARD only: "LOCAL" or "REMOTE"
};

// The error says what is wrong, ready for a reply: a name that is not known or comes twice, a value that
// is no xtext or has control characters, a port that is none, no attribute at all.
std::expected<XAttributes, std::string> parse_xclient(std::string_view argument);
std::expected<XAttributes, std::string> parse_xforward(std::string_view argument);

// What several XFORWARD commands tell together: `later` replaces what it tells.
void merge(XAttributes& all, XAttributes later);

}  // namespace portcullis::smtp
