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

struct AuthorOptions {
  bool smtputf8 = false;  // UTF-8 in addresses; in names it may stand anyway
  // The author may be nobody: what mail systems write into notices ("<>", "MAILER-DAEMON <>", "postmaster",
  // an empty group), as long as no reader can take an address from it.
  bool nobody = false;
};

// One mailbox or several, none only where the author may be nobody; no groups, routes or obsolete forms. The
// error is what was found, as a short phrase: "a source route".
std::expected<std::vector<HeaderMailbox>, std::string_view> parse_author_list(std::string_view text,
                                                                              const AuthorOptions& options);

// How many mailboxes a lenient reader finds, groups included; rather too many than too few.
std::size_t count_mailboxes(std::string_view text);

}  // namespace portcullis::smtp
