// Addresses and group names as backends write them, made canonical for policy::Account.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis::auth {

// "alice@Example.COM" -> canonical; "*@example.com" only with `allow_wildcard` (an attribute that users
// may edit themselves must never widen to a whole domain). nullopt: not an address.
std::optional<std::string> owned_address(std::string_view text, bool allow_wildcard);

// Canonical group name: like a login where it can be one, else (a name with blanks) ASCII-lower-cased.
// nullopt for control characters or nothing.
std::optional<std::string> group_name(std::string_view text);

// Appends `value` unless it is there already.
void append_unique(std::vector<std::string>& values, std::string value);

}  // namespace portcullis::auth
