// Text that goes into LDAP filters and distinguished names, and what comes back in attributes. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace portcullis::auth {

// RFC 4515 section 3: everything that could mean something in a filter, every control and every octet
// above 127 as \XX.
std::string escape_filter_value(std::string_view value);

// RFC 4514 section 2.4: everything but letters, digits and a few harmless marks as \XX (always allowed).
std::string escape_dn_value(std::string_view value);

// What a template's placeholders stand for. {local} and {domain} are the parts around the last '@';
// {local} is the whole login when there is none.
struct TemplateValues {
  std::string_view login;
  std::string_view dn;  // {dn}: of the user's entry; only in group filters
};

// Replaces {login}, {local}, {domain} and {dn}, each value passed through `escape`. Anything else in
// braces stays as it is. Values are not searched for placeholders.
std::string expand_template(std::string_view text, const TemplateValues& values,
                            std::string (*escape)(std::string_view));

// Of a DN that the directory gave: it compares without case (RFC 4518 2.2).
std::string lower_dn(std::string_view dn);

// "SMTP:alice@example.com" -> "alice@example.com" (Exchange's proxyAddresses).
std::string_view strip_smtp_prefix(std::string_view value);

// "cn=Staff,ou=groups,dc=example,dc=com" -> "Staff"; what is no DN is a name already. nullopt: neither.
std::optional<std::string> group_of(const std::string& value);

}  // namespace portcullis::auth
