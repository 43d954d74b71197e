// Case, width and normal form of names: the one door to libunistring. ASCII callers need not come
// here: for them both functions are lower-casing plus the checks named below.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace portcullis::policy {

// Width-mapped, lower-cased, NFC (the mappings of RFC 8265 3.3.2, in that order). nullopt for
// invalid UTF-8, control, format (bidi, zero-width) and default-ignorable code points, surrogates,
// unassigned and private-use ones.
std::optional<std::string> fold_text(std::string_view utf8);

// The same, and only code points of the PRECIS IdentifierClass (RFC 8264 4.2): printable ASCII,
// letters, digits and marks without a compatibility form. Single blanks inside are allowed as
// separators (RFC 8265 3.1: a username is one or more userparts). The Bidi Rule is not applied: the
// result is compared, never shown.
std::optional<std::string> fold_username(std::string_view utf8);

}  // namespace portcullis::policy
