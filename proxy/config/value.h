// A TOML document as plain values that remember where they stood: the only view of the file the rest
// of the configuration code has, so that the TOML library stays behind document.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis::config {

// Line and column count from 1, columns in code points. 0: unknown, the file as a whole.
struct Position {
  std::uint32_t line = 0, column = 0;
};

struct Entry;

struct Value {
  enum class Kind : std::uint8_t { table, array, string, integer, floating, boolean, date };
  Kind kind = Kind::table;
  Position at;
  std::string text;            // string
  std::int64_t integer = 0;    // integer
  bool boolean = false;        // boolean
  std::vector<Value> items;    // array
  std::vector<Entry> entries;  // table

  // The entry of a table, or null.
  const Entry* find(std::string_view key) const;
  // True for a non-empty array that has tables only: [[name]].
  bool is_array_of_tables() const;
};

struct Entry {
  std::string key;
  Position at;  // of the key
  Value value;
};

// With its article, for messages: "a string", "an integer".
std::string_view name_of(Value::Kind kind);

// Where `path` ("listener[2].limits.errors", indices from 1) stands in the document: its key or, not
// exact, the closest table around it that is there.
struct Found {
  Position at;
  bool exact = false;
};
Found find_path(const Value& document, std::string_view path);

}  // namespace portcullis::config
