// The one field Portcullis adds to a message (RFC 5321 4.4), and how times are written in it.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace portcullis::session {

struct ReceivedFacts {
  std::string_view helo;
  std::string_view client_literal;  // "192.0.2.1" or "IPv6:2001:db8::1"
  std::string_view hostname;
  std::string_view tls_version;  // empty: no TLS
  std::string_view tls_cipher;
  std::string_view login;  // empty: not authenticated
  std::string_view id;
  std::string_view recipient;  // "<local@domain>" when there is exactly one, else empty
  bool esmtp = true;
  bool utf8 = false;  // SMTPUTF8 transaction (RFC 6531 4.3)
  bool hide_client = false;
  bool hide_login = true;
  std::chrono::system_clock::time_point time;
};

// Appends the folded field, CRLF at the end. Nothing a client chose (HELO, login) can end the field,
// a line or a comment: unexpected octets are written as '?'. At most added_header_octets long.
void append_received(std::string& out, const ReceivedFacts& facts);

// RFC 5322 date-time in UTC: "Sat, 21 Nov 2026 17:30:22 +0000".
std::string date_time(std::chrono::system_clock::time_point time);

}  // namespace portcullis::session
