// The command lines Portcullis sends to an upstream, from what was parsed: never the client's own
// bytes (law 3).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "smtp/extensions.h"
#include "smtp/params.h"
#include "smtp/path.h"

namespace portcullis::session {

// Who the client is, for XFORWARD and XCLIENT (Postfix XFORWARD_README, XCLIENT_README).
struct ClientIdentityFacts {
  std::string_view address_literal;  // "192.0.2.1" or "IPv6:2001:db8::1"; empty: not known (XFORWARD)
  std::uint16_t port = 0;            // 0: not known
  std::string_view helo;
  bool esmtp = true;
  std::string_view login;  // XCLIENT only
  std::string_view id;     // XFORWARD IDENT
  std::string_view name;   // XFORWARD NAME; empty: not known
  bool local = false;      // XFORWARD SOURCE=LOCAL
};

// "MAIL FROM:<...> ...": parameters the upstream has not offered are left out. SIZE= includes
// what the gateway adds. `auth`: value of AUTH=, empty to leave it out.
void append_mail(std::string& out, const smtp::Path& path, const smtp::MailParameters& parameters,
                 const smtp::Extensions& upstream, std::string_view auth);
void append_rcpt(std::string& out, const smtp::Path& path, const smtp::RcptParameters& parameters,
                 const smtp::Extensions& upstream);

// One or more XFORWARD command lines, each within 512 octets; returns how many (0: nothing offered).
std::size_t append_xforward(std::string& out, const ClientIdentityFacts& client, std::uint16_t offered);

// The attribute list of the one XCLIENT command: LOGIN, HELO, PROTO and ADDR together, because a
// command without one of them resets it, and after ADDR we may not be allowed another.
std::string xclient_attributes(const ClientIdentityFacts& client);

}  // namespace portcullis::session
