#include "proxy/config/reference.h"

#include <fmt/format.h>

#include <algorithm>

#include "proxy/config/rows.h"

namespace portcullis::config {

namespace {

std::string heading(const TableReference& table) {
  if (table.path.empty()) return "top of the file";
  return table.array ? "[[" + table.path + "]]" : "[" + table.path + "]";
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size()) {
    text.replace(at, what.size(), with);
  }
  return text;
}

std::string initial_of(const KeyReference& key) {
  if (key.required) return "required";
  if (key.initial.empty() || key.initial == "\"\"" || key.initial == "[]") return "none";
  return key.initial;
}

std::string type_of(const KeyReference& key) {
  return key.range.empty() ? key.type : key.type + ", " + key.range;
}

// Text as roff: no escape and no request can come from a help text; `code` becomes bold.
std::string roff(std::string_view text) {
  std::string out;
  bool code = false;
  for (const char c : text) {
    if (c == '`') {
      out += code ? "\\fR" : "\\fB";
      code = !code;
    } else if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  if (out.starts_with('.') || out.starts_with('\'')) out.insert(0, "\\&");
  return out;
}

}  // namespace

const std::vector<TableReference>& all_tables() {
  static const std::vector<TableReference> tables = [] {
    std::vector<TableReference> all;
    describe_table(file_table(), "", false, all);
    return all;
  }();
  return tables;
}

std::string tables_with_key(std::string_view key) {
  std::string found;
  for (const TableReference& table : all_tables()) {
    const bool here = std::any_of(table.keys.begin(), table.keys.end(),
                                  [&](const KeyReference& k) { return k.key == key; });
    if (here)
      found += (found.empty() ? "" : " or ") + (table.path.empty() ? "the top of the file" : heading(table));
  }
  return found;
}

std::string reference_markdown() {
  std::string out;
  for (const TableReference& table : all_tables()) {
    const std::string title = table.path.empty() ? "Top of the file" : "`" + heading(table) + "`";
    out += fmt::format("### {}\n\n{}\n\n", title, table.help);
    if (table.keys.empty()) continue;
    out += "| Key | Value | Default | Meaning |\n|---|---|---|---|\n";
    for (const KeyReference& key : table.keys) {
      const std::string initial = initial_of(key);
      const bool literal = initial == key.initial && !initial.starts_with("as in");
      out += fmt::format("| `{}` | {} | {} | {} |\n", key.key, type_of(key),
                         literal ? "`" + initial + "`" : initial, replaced(key.help, "|", "\\|"));
    }
    out += '\n';
  }
  return out;
}

std::string reference_man() {
  std::string out;
  for (const TableReference& table : all_tables()) {
    out += fmt::format(".SS \"{}\"\n{}\n", table.path.empty() ? "Top of the file" : heading(table),
                       roff(table.help));
    for (const KeyReference& key : table.keys) {
      const std::string initial = initial_of(key);
      out += fmt::format(".TP\n.B {}\n{}\n.br\n{}{}{}\n", roff(key.key), roff(key.help),
                         roff("Value: " + type_of(key)),
                         key.required ? "; required" : "; default: ", key.required ? "" : roff(initial));
    }
  }
  return out;
}

}  // namespace portcullis::config
