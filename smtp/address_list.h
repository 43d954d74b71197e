// Address fields of a header (RFC 5322 3.4), unfolded.
//
// The strict reading is for fields that name an author. Its rule: text is accepted only when every
// reader that finds an author in it finds the same one. Hence dots and comments in names
// are fine, and what could hide or add an address is not: docs/header-strictness.md has the table.
#pragma once

#include <cstddef>
#include <expected>
#include <string_view>
#include <vector>

#include "smtp/header.h"

namespace portcullis::smtp {

// One mailbox or several; no groups, routes or obsolete forms. The error is what was found, as a short
// phrase: "a source route".
std::expected<std::vector<HeaderMailbox>, std::string_view> parse_author_list(std::string_view text,
                                                                              bool smtputf8);

// How many mailboxes a lenient reader finds, groups included; rather too many than too few.
std::size_t count_mailboxes(std::string_view text);

}  // namespace portcullis::smtp
