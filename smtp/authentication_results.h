// Authentication-Results fields (RFC 8601). A field that names us as its author, but comes from outside, is
// a forgery, and whatever reads our mail would believe it: section 5 asks us to remove it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace portcullis::smtp {

// The authserv-id (RFC 8601 2.2) of a field's body, folds included: without comments, white space and quotes.
// Empty when there is none.
std::string authserv_id(std::string_view body);

// Appends `block` (a header section with CRLF line ends) to `out` without the Authentication-Results fields
// whose authserv-id `is_ours`. Returns how many were left out; all other octets are as they were.
std::size_t append_without_results(std::string& out, std::string_view block,
                                   const std::function<bool(std::string_view)>& is_ours);

}  // namespace portcullis::smtp
