// Text -> values, strictly and bounded: at most document_octets_max, valid UTF-8 without NUL, nesting
// at most nesting_max deep (tables in the file would otherwise recurse as deep as its author likes).
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>

#include "proxy/config/value.h"

namespace portcullis::config {

inline constexpr std::size_t document_octets_max = 1024UL * 1024;
inline constexpr std::size_t nesting_max = 16;

struct SyntaxError {
  Position at;
  std::string text;
};

std::expected<Value, SyntaxError> parse_document(std::string_view text);

}  // namespace portcullis::config
