// Address literals of SMTP (RFC 5321 4.1.3).
#pragma once

#include <string_view>

namespace portcullis::smtp {

// "[192.0.2.1]" or "[IPv6:2001:db8::1]". General address literals are refused: no tag was ever
// registered but IPv6. So are leading zeros in IPv4, which some read as octal.
bool is_valid_address_literal(std::string_view text);

// The parts on their own: dotted quad; IPv6 of RFC 4291 2.2 without zone.
bool is_valid_ipv4(std::string_view text);
bool is_valid_ipv6(std::string_view text);

}  // namespace portcullis::smtp
