// Writes JSON for eyes and machines that must not be fooled: what a peer sent can neither end a
// string, a line or a terminal's patience.
//
//   JsonObject line(out);
//   line.text("helo", helo);        // nothing at all when empty
//   line.number("octets", 1234);
//   line.close();                   // "}"
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace portcullis::metrics {

// Appends `value` as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD. Control characters
// (C0, DEL, C1), bidi controls, zero-width and other invisible format characters and line separators
// are written as \uXXXX. Values longer than `octets_max` are cut and end with U+2026.
void append_json_string(std::string& out, std::string_view value, std::size_t octets_max);

// One object being written. Members appear in the order of the calls.
class JsonObject {
 public:
  static constexpr std::size_t value_octets_max = 1024;

  explicit JsonObject(std::string& out) : out_(out) { out_ += '{'; }
  // `key` of the methods below is one of ours: a plain identifier.
  void text(std::string_view key, std::string_view value);  // omitted when empty
  void number(std::string_view key, std::uint64_t value);
  void seconds(std::string_view key, double value);  // microseconds kept; omitted unless finite and >= 0
  // Any key, always written.
  void pair(std::string_view key, std::string_view value);
  // For a nested value: writes the key, the caller appends the value to the same string.
  void key(std::string_view key);
  void close() { out_ += '}'; }

 private:
  std::string& out_;
  bool first_ = true;
};

}  // namespace portcullis::metrics
