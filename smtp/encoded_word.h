// Encoded words (RFC 2047) as a careless reader decodes them: one that decodes before it parses, in
// quoted strings too, and forgives what is malformed. For judging what such a reader would see; the
// text itself goes on as it is.
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace portcullis::smtp {

// `text` with every encoded word replaced by its octets, without regard to its charset except that
// ASCII stays recognisable: double-octet parts of ISO-2022 text become '?'. The error is a short
// sentence: a word that readers decode differently (broken base64, UTF-7 and other charsets that hide
// ASCII).
std::expected<std::string, std::string_view> decode_encoded_words(std::string_view text);

}  // namespace portcullis::smtp
