// Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string_view>

namespace portcullis::smtp {

// Octets of the valid sequence at the front of `text`; 0 when there is none (or `text` is empty).
std::size_t utf8_sequence_octets(std::string_view text);

// Like utf8_sequence_octets, but 0 also for control characters: C0, DEL and C1 (U+0080 to U+009F,
// which terminals obey and readers do not see).
std::size_t utf8_printable_octets(std::string_view text);

// Like utf8_printable_octets, but 0 also for what is not shown as what it is: bidi controls, zero-width
// and other invisible characters, line and paragraph separators. (Joiners are among them: they have a
// place in running text, none in a reply or an address.)
std::size_t utf8_visible_octets(std::string_view text);

// The code point of a valid sequence.
char32_t utf8_code_point(std::string_view sequence);

bool is_valid_utf8(std::string_view text);

// The longest prefix of at most `max_octets` that does not cut a sequence.
std::string_view utf8_prefix(std::string_view text, std::size_t max_octets);

}  // namespace portcullis::smtp
