// Writes JSON for eyes and machines that must not be fooled: what a peer sent can neither end a
// string, a line or a terminal's patience.
//
//   JsonObject line(out);
//   line.text<"helo">(helo);        // nothing at all when empty
//   line.number<"octets">(1234);
//   line.close();                   // "}"
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "metrics/digits.h"
#include "metrics/text_buffer.h"

namespace portcullis::metrics {

// Appends `value` as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD. Control characters
// (C0, DEL, C1), bidi controls, zero-width and other invisible format characters and line separators
// are written as \uXXXX. Values longer than `octets_max` are cut and end with U+2026.
void append_json_string(TextBuffer& out, std::string_view value, std::size_t octets_max);

// A key of ours, a plain identifier, made into what stands before a text when the program is compiled:
// `,"helo":"`. Copied whole, as a size that is known is a few instructions.
struct JsonKey {
  static constexpr std::size_t piece_octets = 32;

  template <std::size_t N>
  consteval JsonKey(const char (&name)[N])  // NOLINT: implicit on purpose
      : octets(N - 1 + 5) {
    static_assert(N - 1 + 5 <= piece_octets);
    std::size_t at = 0;
    piece[at++] = ',';
    piece[at++] = '"';
    for (std::size_t i = 0; i + 1 < N; ++i) piece[at++] = name[i];
    piece[at++] = '"';
    piece[at++] = ':';
    piece[at++] = '"';
  }
  // `at` has room for piece_octets. Return where the value goes on: behind its first quote, or without one.
  char* before_text(char* at) const {
    std::memcpy(at, piece.data(), piece.size());
    return at + octets;
  }
  char* before_value(char* at) const { return before_text(at) - 1; }

  std::array<char, piece_octets> piece{};
  std::size_t octets;
};

// One object being written. Members appear in the order of the calls. Each comes with a comma in front;
// close() makes the first one a brace.
class JsonObject {
 public:
  static constexpr std::size_t value_octets_max = 1024;
  static constexpr double seconds_max = 1e9;

  explicit JsonObject(TextBuffer& out) : out_(out), begin_(out.size()) {}
  template <JsonKey Key>
  void text(std::string_view value) {  // omitted when empty
    if (!value.empty()) write_text(Key, value);
  }
  // Both with a blank between them; `back` alone when there is nothing in front of it.
  template <JsonKey Key>
  void text(std::string_view front, std::string_view back) {
    if (front.empty()) return text<Key>(back);
    write_text(Key, front, back);
  }
  template <JsonKey Key>
  void number(std::uint64_t value) {
    char* const at = Key.before_value(out_.room(JsonKey::piece_octets + decimal_octets_max));
    out_.end_at(write_decimal(at, value));
  }
  template <JsonKey Key>
  void seconds(double value) {  // microseconds kept; omitted unless of [0, seconds_max]
    // No number is neither of the first two.
    if (value >= 0 && value <= seconds_max) write_seconds(Key, value);
  }
  // For a nested value: writes the key, the caller appends the value to the same buffer.
  template <JsonKey Key>
  void key() {
    out_.end_at(Key.before_value(out_.room(JsonKey::piece_octets)));
  }
  template <JsonKey Key>
  void text_or_empty(std::string_view value) {  // always written
    write_text(Key, value);
  }
  // Any key, always written.
  void pair(std::string_view key, std::string_view value);
  void close();

 private:
  void write_text(const JsonKey& key, std::string_view value);
  void write_text(const JsonKey& key, std::string_view front, std::string_view back);
  void write_any_text(const JsonKey& key, std::string_view value);
  void write_seconds(const JsonKey& key, double value);

  TextBuffer& out_;
  std::size_t begin_;  // where its first member begins
};

}  // namespace portcullis::metrics
