// The value and parameters of Content-Type and Content-Disposition (RFC 2045 5.1, 2183, 2231), read
// leniently: the scanner wants to know what any reader could find in them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace portcullis::smtp {

struct ContentParameter {
  std::string name;   // lower-case
  std::string value;  // without quotes and backslashes
  bool quoted = false;
};

struct ContentField {
  std::string value;  // lower-case, without comments: "multipart/mixed", "attachment"; may be empty
  std::vector<ContentParameter> parameters;
  bool malformed = false;  // an unterminated quoted string, or more parameters than we read

  bool has_name() const;  // a file name, also in the split and encoded forms of RFC 2231
  // Every file name that some reader could take from the field, decoded.
  std::vector<std::string> names() const;
};

// `text` is unfolded.
ContentField parse_content_field(std::string_view text);
// Its `value` alone.
std::string content_value(std::string_view text);

// Every boundary that some reader could take from the field: the plain parameter, the first or last of
// several, the RFC 2231 form, an unquoted value up to its first blank. Empty when there is none.
std::vector<std::string> boundaries_of(const ContentField& field);

}  // namespace portcullis::smtp
