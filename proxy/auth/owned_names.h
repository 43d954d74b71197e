// Addresses, patterns and group names as backends write them, made canonical for policy::Account.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/domain_set.h"
#include "policy/identity.h"

namespace portcullis::auth {

// "alice@Example.COM" -> canonical, one address and never more: this is what users may write about
// themselves. nullopt: not an address; "*@example.com" is none either.
std::optional<std::string> owned_address(std::string_view text);

// What an administrator grants to one account, in the user file or in the grant attribute of a directory:
// an address, or "*@example.com" for a whole domain. nullopt: neither.
std::optional<policy::AddressPattern> granted_addresses(std::string_view text);
// Adds it to what the account owns. Does nothing with what is neither.
void grant(policy::Account& account, std::string_view text);

// Canonical group name: like a login where it can be one, else (a name with blanks) ASCII-lower-cased.
// nullopt for control characters or nothing.
std::optional<std::string> group_name(std::string_view text);

// Whether a backend that serves `domains` (none: all) is asked about this login (canonical). One without a
// domain always is.
bool serves(const policy::DomainSet& domains, std::string_view login);

// Appends `value` unless it is there already.
void append_unique(std::vector<std::string>& values, std::string value);

}  // namespace portcullis::auth
