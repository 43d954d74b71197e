// What a value may look like: each type reads a TOML value (and says what it expected), shows a value
// the way an admin would write it, and names itself in the reference. Human forms throughout: "30s",
// "50MiB", "500 recipients/day", "[::]:587".
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/settings.h"
#include "proxy/config/config.h"
#include "proxy/config/reader.h"
#include "proxy/config/value.h"

namespace portcullis::config {

template <class V>
struct Type {
  std::string name;   // "duration", as docs/configuration.md explains it
  std::string range;  // "1s to 1h", or empty
  // Reads into the last argument, or reports and leaves it alone.
  std::function<void(Reader&, const Value&, const std::string& key, V&)> read;
  std::function<std::string(const V&)> show;
};

// A type whose values are written as one string: `parse` gives the value or what was expected.
template <class V>
using Parse = std::function<std::expected<V, std::string>(const std::string&)>;

template <class V>
Type<V> text_type(std::string name, std::string expected, Parse<V> parse,
                  std::function<std::string(const V&)> show) {
  auto read = [expected = std::move(expected), parse = std::move(parse)](Reader& reader, const Value& value,
                                                                         const std::string& key, V& out) {
    if (value.kind != Value::Kind::string) return reader.expected(value, key, expected);
    auto parsed = parse(value.text);
    if (!parsed) return reader.error(value.at, key, std::move(parsed.error()));
    out = std::move(*parsed);
  };
  return {std::move(name), {}, std::move(read), std::move(show)};
}

Type<bool> boolean();
Type<std::uint64_t> count(std::uint64_t minimum, std::uint64_t maximum);
// In multiples of `unit_ms` (1: milliseconds, 1000: seconds, …); the bounds are in the same unit.
Type<std::uint64_t> duration(std::uint64_t unit_ms, std::uint64_t minimum, std::uint64_t maximum);
Type<std::uint64_t> seconds(std::uint64_t minimum, std::uint64_t maximum);
Type<std::uint64_t> milliseconds(std::uint64_t minimum, std::uint64_t maximum);
Type<std::uint64_t> size(std::uint64_t minimum_octets, std::uint64_t maximum_octets);

// Any text without control characters, at most 1000 octets.
Type<std::string> text();
// As text, but never empty.
Type<std::string> some_text();
// A path; relative ones become absolute against the directory of the file.
Type<std::string> path();
// Text that is never shown.
Type<std::string> secret();
// A path whose file's content (one line) is the secret: never readable by others.
Type<std::string> secret_file();
// What names a listener, upstream, network or rule: letters, digits, '.', '_', '-'; at most 64.
Type<std::string> name();
// A host name or IP address.
Type<std::string> host();
// A canonical domain.
Type<std::string> domain();
// "example.com" or "*.example.com".
Type<std::string> domain_pattern();
// "a@b", "*@b", "*@*.b"; canonical.
Type<std::string> address_pattern();
// A login, or a pattern of logins such as "*@example.com"; canonical.
Type<std::string> login_pattern();
// "group:name" or a login pattern.
Type<std::string> grantee();
Type<std::string> group();
Type<char> one_character();
Type<Socket> socket_address();
// "host", "host:port", "[address]:port"; the port is 0 when absent.
Type<Server> server_address();
Type<policy::IpNetwork> ip_network();
Type<policy::Mode> mode();

struct RateLimit {
  std::uint64_t amount = 0;
  policy::RateUnit unit = policy::RateUnit::recipients;
  std::uint32_t period_seconds = 86400;
};
Type<RateLimit> rate_limit();

// One of a few words.
template <class V>
Type<V> choice(std::vector<std::pair<std::string_view, V>> words) {
  std::string all;
  for (const auto& [word, value] : words) all += (all.empty() ? "\"" : ", \"") + std::string(word) + '"';
  auto parse = [words, all](const std::string& text) -> std::expected<V, std::string> {
    for (const auto& [word, value] : words) {
      if (word == text) return value;
    }
    return std::unexpected("\"" + text + "\" is not one of " + all);
  };
  auto show = [words = std::move(words)](const V& wanted) -> std::string {
    for (const auto& [word, value] : words) {
      if (value == wanted) return '"' + std::string(word) + '"';
    }
    return "\"\"";
  };
  // The analyzer loses track of what a std::function owns once it is moved.
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks)
  return text_type<V>(all, "one of " + all, std::move(parse), std::move(show));
}

// An array, or a single value for an array of one.
template <class V>
Type<std::vector<V>> list(Type<V> item, std::size_t maximum = 1000) {
  Type<std::vector<V>> type;
  type.name = "list of " + item.name;
  type.range = item.range;
  type.read = [item, maximum](Reader& reader, const Value& value, const std::string& key,
                              std::vector<V>& out) {
    std::vector<V> values;
    const std::size_t errors = reader.errors();
    const auto read_one = [&](const Value& one, const std::string& one_key) {
      V read{};
      item.read(reader, one, one_key, read);
      values.push_back(std::move(read));
    };
    if (value.kind != Value::Kind::array) {
      read_one(value, key);
    } else if (value.items.size() > maximum) {
      return reader.error(value.at, key, "more than " + std::to_string(maximum) + " values");
    } else {
      for (std::size_t i = 0; i < value.items.size(); ++i) {
        read_one(value.items[i], key + '[' + std::to_string(i + 1) + ']');
      }
    }
    if (reader.errors() == errors) out = std::move(values);
  };
  type.show = [item](const std::vector<V>& values) {
    std::string shown;
    for (const V& value : values) shown += (shown.empty() ? "" : ", ") + item.show(value);
    return '[' + shown + ']';
  };
  return type;
}

// As list, but an empty array is an error.
template <class V>
Type<std::vector<V>> some(Type<V> item) {
  auto type = list(std::move(item));
  type.read = [read = type.read](Reader& reader, const Value& value, const std::string& key,
                                 std::vector<V>& out) {
    if (value.kind == Value::Kind::array && value.items.empty()) {
      return reader.error(value.at, key, "expected at least one value");
    }
    read(reader, value, key, out);
  };
  return type;
}

// "90s" and friends as the reference and the messages show them.
std::string show_duration(std::uint64_t milliseconds);
std::string show_size(std::uint64_t octets);

}  // namespace portcullis::config
