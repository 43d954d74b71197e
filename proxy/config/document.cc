#include "proxy/config/document.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

// The library as headers, without exceptions and with our bound on nesting: its shared build has
// neither.
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_MAX_NESTED_VALUES 16
#define TOML_ENABLE_FORMATTERS 0
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnull-dereference"
#include <toml++/toml.h>
#pragma GCC diagnostic pop

namespace portcullis::config {

namespace {

Position position(const toml::source_region& region) { return {region.begin.line, region.begin.column}; }

// Length of the UTF-8 sequence at the front of `text` (RFC 3629), 0 when it is none.
std::size_t sequence_octets(std::string_view text) {
  const auto octet = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = octet(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((octet(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = octet(1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f)) return 0;
  if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) return 0;
  return length;
}

std::optional<SyntaxError> find_bad_octet(std::string_view text) {
  Position at{1, 1};
  while (!text.empty()) {
    if (text.front() == '\0') return SyntaxError{at, "NUL octet; a configuration is text in UTF-8"};
    const std::size_t length = sequence_octets(text);
    if (length == 0) {
      return SyntaxError{at, fmt::format("octet 0x{:02x} is not valid UTF-8",
                                         static_cast<unsigned>(static_cast<unsigned char>(text.front())))};
    }
    if (text.front() == '\n') {
      at = {at.line + 1, 1};
    } else {
      ++at.column;
    }
    text.remove_prefix(length);
  }
  return std::nullopt;
}

// Octets of the string or comment that starts at `text`; 0 when none does. Only as exact as counting
// dots needs: what this misjudges is not TOML, and the parser says so.
std::size_t skipped_octets(std::string_view text) {
  if (text.front() == '#') return std::min(text.find('\n'), text.size());
  if (text.front() != '"' && text.front() != '\'') return 0;
  const char quote = text.front();
  const std::string_view triple = quote == '"' ? "\"\"\"" : "'''";
  const bool multi_line = text.starts_with(triple);
  std::size_t i = multi_line ? 3 : 1;
  for (; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\') {
      ++i;
    } else if (multi_line ? text.substr(i).starts_with(triple) : text[i] == quote) {
      return i + (multi_line ? 3 : 1);
    } else if (!multi_line && text[i] == '\n') {
      return i;
    }
  }
  return text.size();
}

// The parser bounds arrays and inline tables; dotted keys ("a.b.c.d…") are bounded here.
std::optional<SyntaxError> find_deep_key(std::string_view text) {
  std::size_t dots = 0;
  Position at{1, 1};
  for (std::size_t i = 0; i < text.size();) {
    if (const std::size_t skipped = skipped_octets(text.substr(i)); skipped != 0) {
      for (const char c : text.substr(i, skipped)) at.line += c == '\n' ? 1 : 0;
      i += skipped;
      continue;
    }
    const char c = text[i++];
    if (c == '\n') ++at.line;
    if (c == '\n' || c == '=' || c == ',') dots = 0;
    if (c == '.' && ++dots >= nesting_max) {
      return SyntaxError{{at.line, 1}, fmt::format("key nested deeper than {} tables", nesting_max)};
    }
  }
  return std::nullopt;
}

Value convert(const toml::node& node);

Value convert_table(const toml::table& table) {
  Value value;
  value.entries.reserve(table.size());
  for (const auto& [key, node] : table) {
    value.entries.push_back({std::string(key.str()), position(key.source()), convert(node)});
  }
  return value;
}

Value convert(const toml::node& node) {
  Value value;
  switch (node.type()) {
    case toml::node_type::table:
      value = convert_table(*node.as_table());
      break;
    case toml::node_type::array:
      value.kind = Value::Kind::array;
      for (const toml::node& item : *node.as_array()) value.items.push_back(convert(item));
      break;
    case toml::node_type::string:
      value.kind = Value::Kind::string;
      value.text = node.as_string()->get();
      break;
    case toml::node_type::integer:
      value.kind = Value::Kind::integer;
      value.integer = node.as_integer()->get();
      break;
    case toml::node_type::floating_point:
      value.kind = Value::Kind::floating;
      break;
    case toml::node_type::boolean:
      value.kind = Value::Kind::boolean;
      value.boolean = node.as_boolean()->get();
      break;
    case toml::node_type::none:
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
      value.kind = Value::Kind::date;
      break;
  }
  value.at = position(node.source());
  return value;
}

}  // namespace

std::expected<Value, SyntaxError> parse_document(std::string_view text) {
  if (text.size() > document_octets_max) {
    return std::unexpected(SyntaxError{
        {},
        fmt::format("more than {} KiB; a configuration this long is a mistake", document_octets_max / 1024)});
  }
  if (auto error = find_bad_octet(text)) return std::unexpected(std::move(*error));
  if (auto error = find_deep_key(text)) return std::unexpected(std::move(*error));
  const toml::parse_result result = toml::parse(text);
  if (!result) {
    const toml::parse_error& error = result.error();
    // Without the library's name for the bound, which means nothing to an admin.
    const std::string_view text_of_error = error.description();
    return std::unexpected(SyntaxError{position(error.source()),
                                       std::string(text_of_error.substr(0, text_of_error.find(" (TOML_")))});
  }
  return convert_table(result.table());
}

}  // namespace portcullis::config
