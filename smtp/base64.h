// Strict base64 (RFC 4648 section 4) for SASL: no white space, no missing or excess padding,
// zero trailing bits.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace portcullis::smtp {

std::optional<std::string> decode_base64(std::string_view text);
std::string encode_base64(std::string_view bytes);

}  // namespace portcullis::smtp
