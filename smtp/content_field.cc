#include "smtp/content_field.h"

#include <algorithm>
#include <cstddef>

#include "smtp/ascii.h"
#include "smtp/encoded_word.h"
#include "smtp/octet_search.h"

namespace portcullis::smtp {
namespace {

constexpr std::size_t max_parameters = 64;

// With what is left of folding.
constexpr bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), to_lower);
  return out;
}

// Takes what is before the next ';' outside quotes off `rest`, the ';' with it.
std::string_view next_element(std::string_view& rest, bool& unterminated) {
  bool quoted = false;
  std::size_t end = 0;
  for (;; ++end) {
    end = quoted ? find_octet<OneOf<'"', '\\'>>(rest, end) : find_octet<OneOf<'"', ';'>>(rest, end);
    if (end >= rest.size() || rest[end] == ';') break;
    if (rest[end] == '"') {
      quoted = !quoted;
    } else {
      ++end;  // what the backslash quotes
    }
  }
  end = std::min(end, rest.size());
  unterminated = unterminated || quoted;
  const std::string_view element = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return element;
}

// In lower case, without space and comments; nested ones are rare enough to end at the first ')'.
std::string value_of(std::string_view element) {
  std::string out(element);
  std::size_t kept = 0;
  for (std::size_t at = 0; at < element.size(); ++at) {
    if (element[at] == '(') {
      at = std::min(element.find(')', at), element.size() - 1);
    } else if (!is_space(element[at])) {
      out[kept++] = to_lower(element[at]);
    }
  }
  out.resize(kept);
  return out;
}

std::string parameter_value(std::string_view text) {
  if (!text.starts_with('"')) return std::string(text);
  std::string out;
  for (std::size_t i = 1; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size();
    const int high = escape ? hex_value(text[i + 1]) : -1;
    const int low = escape ? hex_value(text[i + 2]) : -1;
    if (high >= 0 && low >= 0) {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// The value of "name*", or of "name*0", "name*1*", … put together (RFC 2231 3 and 4).
std::string extended_value(const ContentField& field, std::string_view name) {
  const auto segment = [&](const std::string& suffix, bool& found) {
    for (const auto& [parameter, value, quoted] : field.parameters) {
      if (!parameter.starts_with(name)) continue;
      const std::string_view rest = std::string_view(parameter).substr(name.size());
      const bool encoded = rest == suffix + "*";
      if (rest != suffix && !encoded) continue;
      if (rest.empty()) continue;  // the plain parameter
      found = true;
      if (!encoded) return value;
      const std::size_t language = value.find('\'');
      const std::size_t text = language == std::string::npos ? language : value.find('\'', language + 1);
      return percent_decoded(text == std::string::npos ? value : value.substr(text + 1));
    }
    return std::string();
  };
  bool found = false;
  std::string whole = segment("", found);
  for (std::size_t i = 0; i < max_parameters; ++i) {
    bool more = false;
    whole += segment(std::to_string(i).insert(0, 1, '*'), more);
    if (!more) break;
  }
  return whole;
}

}  // namespace

std::string content_value(std::string_view text) {
  bool unterminated = false;
  return value_of(next_element(text, unterminated));
}

ContentField parse_content_field(std::string_view text) {
  ContentField field;
  field.value = value_of(next_element(text, field.malformed));
  while (!text.empty()) {
    std::string_view element = trimmed(next_element(text, field.malformed));
    if (element.starts_with('(')) {  // a comment before the name
      element = trimmed(element.substr(std::min(element.find(')'), element.size() - 1) + 1));
    }
    const std::size_t equals = element.find('=');
    if (equals == std::string_view::npos) continue;
    if (field.parameters.size() == max_parameters) {
      field.malformed = true;
      break;
    }
    const std::string_view value = trimmed(element.substr(equals + 1));
    ContentParameter& parameter = field.parameters.emplace_back();
    parameter.name = lower(trimmed(element.substr(0, equals)));
    parameter.value = parameter_value(value);
    parameter.quoted = value.starts_with('"');
  }
  return field;
}

bool ContentField::has_name() const {
  return std::ranges::any_of(parameters, [](const auto& parameter) {
    const auto name = std::string_view(parameter.name).substr(0, parameter.name.find('*'));
    return (name == "name" || name == "filename") && !parameter.value.empty();
  });
}

std::vector<std::string> ContentField::names() const {
  std::vector<std::string> found;
  for (const std::string_view wanted : {"name", "filename"}) {
    for (const auto& [name, text, quoted] : parameters) {
      // RFC 2047 forbids encoded words here; they are common all the same.
      if (name == wanted && !text.empty()) found.push_back(decode_encoded_words(text).value_or(text));
    }
    std::string extended = extended_value(*this, wanted);
    if (!extended.empty()) found.push_back(std::move(extended));
  }
  return found;
}

std::vector<std::string> boundaries_of(const ContentField& field) {
  std::vector<std::string> found;
  const auto add = [&](std::string_view boundary) {
    while (!boundary.empty() && is_space(boundary.back())) boundary.remove_suffix(1);
    if (boundary.empty() || std::ranges::find(found, boundary) != found.end()) return;
    found.emplace_back(boundary);
  };
  for (const auto& [name, value, quoted] : field.parameters) {
    if (name != "boundary" || found.size() > 2) continue;
    add(value);
    if (!quoted) add(std::string_view(value).substr(0, value.find_first_of(" \t(")));
  }
  add(extended_value(field, "boundary"));
  return found;
}

}  // namespace portcullis::smtp
