// What a peer can do (its EHLO reply) and what we offer (RFC 5321 4.1.1.1 and the extensions).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "smtp/reply.h"

namespace portcullis::smtp {

// Bits of SASL mechanisms, see sasl.h for the machines behind them.
enum MechanismBit : std::uint8_t {
  mech_plain = 1,
  mech_login = 2,
  mech_xoauth2 = 4,
  mech_oauthbearer = 8,
  mech_external = 16,
};
// Bits of XFORWARD / XCLIENT attributes a server lists in EHLO (Postfix XFORWARD_README,
// XCLIENT_README).
enum XAttributeBit : std::uint16_t {
  x_name = 1,
  x_addr = 2,
  x_port = 4,
  x_proto = 8,
  x_helo = 16,
  x_ident = 32,
  x_source = 64,
  x_login = 128,
  x_destaddr = 256,
  x_destport = 512,
};

// Bit of an attribute name (case-insensitive), 0 for one that is not known.
std::uint16_t x_attribute_by_name(std::string_view name);

struct Extensions {
  bool esmtp = false;  // EHLO was accepted at all (HELO-only servers: false)
  bool pipelining = false;
  bool eight_bit_mime = false;
  bool smtputf8 = false;
  bool chunking = false;
  bool binarymime = false;
  bool dsn = false;
  bool enhanced_status_codes = false;
  bool starttls = false;
  bool requiretls = false;
  bool vrfy = false;
  bool help = false;
  std::optional<std::uint64_t> size = std::nullopt;  // SIZE without a value, or 0 ("no limit"): value 0
  std::uint8_t auth = 0;                             // MechanismBit
  std::uint16_t xforward = 0;                        // XAttributeBit
  std::uint16_t xclient = 0;                         // XAttributeBit
  bool operator==(const Extensions&) const = default;
};

// Reads the keywords of a 250 reply to EHLO; unknown ones are ignored, "AUTH=" (old Outlook) too.
Extensions parse_ehlo_reply(const Reply& reply);

// Our own EHLO reply (code 250). `greeting` becomes the first line: "mx.example.com greets client".
Reply render_ehlo(const Extensions& offered, std::string_view greeting);

}  // namespace portcullis::smtp
