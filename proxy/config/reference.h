// The rows as documentation: what `portcullis check --print-keys` prints and what stands, word for
// word, in docs/configuration.md and docs/man/portcullis.toml.5 (a test compares).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace portcullis::config {

struct KeyReference {
  std::string key;
  std::string type;     // "duration"
  std::string range;    // "1s to 1h"; empty: any
  std::string initial;  // the default as it would be written; empty: none
  std::string help;
  bool required = false;
};

struct TableReference {
  std::string path;  // "listener.limits"; empty: the top of the file
  bool array = false;
  std::string help;
  std::vector<KeyReference> keys;
};

// Every table of the configuration, in the order of the documentation.
const std::vector<TableReference>& all_tables();

// "[auth.ldap]" or "[[listener]] or [limits]": where a key of this name is known; empty: nowhere.
std::string tables_with_key(std::string_view key);

std::string reference_markdown();
std::string reference_man();

}  // namespace portcullis::config
