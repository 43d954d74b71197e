#include "proxy/config/value.h"

#include <algorithm>
#include <charconv>

namespace portcullis::config {

const Entry* Value::find(std::string_view key) const {
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.key == key; });
  return found == entries.end() ? nullptr : &*found;
}

bool Value::is_array_of_tables() const {
  return kind == Kind::array && !items.empty() &&
         std::all_of(items.begin(), items.end(), [](const Value& item) { return item.kind == Kind::table; });
}

std::string_view name_of(Value::Kind kind) {
  switch (kind) {
    case Value::Kind::table:
      return "a table";
    case Value::Kind::array:
      return "an array";
    case Value::Kind::string:
      return "a string";
    case Value::Kind::integer:
      return "an integer";
    case Value::Kind::floating:
      return "a floating-point number";
    case Value::Kind::boolean:
      return "a boolean";
    case Value::Kind::date:
      return "a date or time";
  }
  return "a value";
}

namespace {

// "listener[2]" -> "listener", 2; 0 without an index.
std::pair<std::string_view, std::size_t> split_index(std::string_view step) {
  const auto bracket = step.find('[');
  if (bracket == std::string_view::npos) return {step, 0};
  std::size_t index = 0;
  std::from_chars(step.data() + bracket + 1, step.data() + step.size(), index);
  return {step.substr(0, bracket), index};
}

}  // namespace

Found find_path(const Value& document, std::string_view path) {
  const Value* value = &document;
  Found found;
  while (!path.empty()) {
    const auto dot = path.find('.');
    const auto [key, index] = split_index(path.substr(0, dot));
    path = dot == std::string_view::npos ? std::string_view{} : path.substr(dot + 1);
    const Entry* entry = value->find(key);
    if (entry == nullptr) return found;
    found.at = entry->at;
    value = &entry->value;
    if (index == 0) continue;
    if (index > value->items.size()) return found;
    value = &value->items[index - 1];
    found.at = value->at;
  }
  found.exact = true;
  return found;
}

}  // namespace portcullis::config
