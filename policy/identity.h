// Who somebody is and which addresses are theirs (law 7). Canonical forms are made here and only
// here, so that AUTH, ownership, rates and lockouts agree about who is who.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/address_pattern.h"
#include "smtp/limits.h"
#include "smtp/path.h"

namespace portcullis::policy {

// What a backend tells of an authenticated login.
struct Account {
  std::string login = {};                   // canonical
  std::vector<std::string> addresses = {};  // owned besides the login: canonical, each just this one
  std::vector<std::string> groups = {};     // names, canonical
  std::string backend = {};                 // "file", "ldap", "imap"
  // Of what the backend had on this account when it vouched for it: another number later means that the
  // account was changed (auth::Service::look_again). 0: the backend keeps no such number.
  std::uint64_t version = 0;
  // What an administrator granted this account: never made of what users may edit.
  std::vector<AddressPattern> patterns = {};
  // One for all logins that lead to this account: what is counted for an account is counted under it.
  // Empty: the login.
  std::string identity = {};
  std::string_view counted_as() const { return identity.empty() ? login : identity; }
};

// Canonical login: PRECIS UsernameCaseMapped in effect (RFC 8265 3.3: width and case mapped, NFC),
// the domain of a login that is an address as canonical_domain has it. nullopt for control, bidi and
// zero-width characters, compatibility forms (ligatures, circled digits), symbols outside ASCII,
// fullwidth marks other than "@", ".", "-", "_" and "+", invalid UTF-8, blanks at the ends or in a row,
// empty or more than limits::login_octets.
std::optional<std::string> canonical_login(std::string_view login);

// Canonical domain: lower-case A-label form (IDNA2008, libidn2), no trailing dot; address literals
// by value, lower-case with brackets ("[ipv6:2001:db8::1]"). nullopt when invalid. '_' passes.
std::optional<std::string> canonical_domain(std::string_view domain);
// The same into `out` (at least limits::domain_octets) without allocating for ASCII domains; returns
// the length, 0 when invalid.
std::size_t write_canonical_domain(std::string_view domain, std::span<char> out);
// A domain or "*.domain" / ".domain" (given back as "*.domain"), for configuration.
std::optional<std::string> canonical_domain_pattern(std::string_view pattern);

// Canonical mailbox for comparison: case-folded local part @ canonical domain. `subaddress` != 0
// drops what follows the first such character in the local part ("alice+lists" is alice's).
// nullopt where either half has no canonical form; such an address is nobody's. Octets of ASCII other than
// letters and digits stand for themselves only: a local part where another character maps to one ("*" as
// U+FF0A, "@" as U+FE6B, a blank) has no canonical form.
std::optional<std::string> canonical_address(const smtp::Mailbox& mailbox, char subaddress);
// The same into a caller's buffer, without allocating for ASCII.
struct AddressBuffer : std::array<char, 320 + 1 + smtp::limits::domain_octets> {
  static constexpr std::size_t local_octets = 320;
};
std::optional<std::string_view> canonical_address(const smtp::Mailbox& mailbox, char subaddress,
                                                  AddressBuffer& buffer);
// The local part alone.
std::optional<std::string> canonical_local_part(std::string_view local);

// Whether `domain` (canonical) is `pattern` or, for "*.example.com" or ".example.com", below it.
bool domain_matches(std::string_view pattern, std::string_view domain);

}  // namespace portcullis::policy
