// Who somebody is and which addresses are theirs (law 7). Canonical forms are made here and only
// here, so that AUTH, ownership, rates and lockouts agree about who is who.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "smtp/path.h"

namespace portcullis::policy {

// What a backend tells of an authenticated login.
struct Account {
  std::string login;                   // canonical
  std::vector<std::string> addresses;  // owned besides the login: "local@domain" or "*@domain", canonical
  std::vector<std::string> groups;     // names, canonical
  std::string backend;                 // "file", "ldap", "imap"
};

// Canonical login: PRECIS UsernameCaseMapped in effect (RFC 8265 3.3: width and case mapped, NFC);
// nullopt for control characters, invalid UTF-8, empty or more than limits::login_octets.
std::optional<std::string> canonical_login(std::string_view login);

// Canonical domain: lower-case A-label form (IDNA2008, libidn2), no trailing dot; address literals
// lower-case with brackets. nullopt when invalid.
std::optional<std::string> canonical_domain(std::string_view domain);

// Canonical mailbox for comparison: case-folded local part @ canonical domain. `subaddress` != 0
// drops what follows the first such character in the local part ("alice+lists" is alice's).
std::optional<std::string> canonical_address(const smtp::Mailbox& mailbox, char subaddress);

// Whether `address` (canonical) matches `pattern`: "a@b", "*@b", "*@*.b", "@b" (= "*@b").
bool address_matches(std::string_view pattern, std::string_view address);

// Whether `domain` (canonical) is `pattern` or, for "*.example.com" or ".example.com", below it.
bool domain_matches(std::string_view pattern, std::string_view domain);

}  // namespace portcullis::policy
