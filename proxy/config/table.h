// A table of the configuration as rows: one row a key, with its type, default and help. Reading the
// file, its errors and the reference (docs/configuration.md, portcullis.toml(5)) all come from here,
// so that a key can neither be read without being documented nor the other way round.
//
//   const Table<Admin>& metrics_table() {
//     static const Table<Admin> table{{row("address", &Admin::sockets, list(socket_address()), "…")}, {}};
//     return table;
//   }
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "proxy/config/reader.h"
#include "proxy/config/reference.h"
#include "proxy/config/types.h"
#include "proxy/config/value.h"

namespace portcullis::config {

template <class T>
struct Row {
  KeyReference reference;
  std::function<void(Reader&, const Value&, const std::string& key, T&)> read;
};

// A table or an array of tables below another one.
template <class T>
struct Child {
  std::string key;
  bool array = false;
  std::function<void(Reader&, const Value&, const std::string& path, T&)> read;
  std::function<void(std::vector<TableReference>&, const std::string& path)> describe;
};

template <class T>
struct Table {
  std::string help;
  std::vector<Row<T>> rows;
  std::vector<Child<T>> children;

  std::vector<std::string_view> keys() const {
    std::vector<std::string_view> all;
    all.reserve(rows.size() + children.size());
    for (const auto& r : rows) all.push_back(r.reference.key);
    for (const auto& c : children) all.push_back(c.key);
    return all;
  }
};

// Unwraps what a field may be into what its type reads: numbers of any width, optional ones.
template <class V, class F>
V to_value(const F& field) {
  return static_cast<V>(field);
}
template <class V, class F>
V to_value(const std::optional<F>& field) {
  return static_cast<V>(field.value_or(F{}));
}
template <class F>
inline constexpr bool is_optional = false;
template <class F>
inline constexpr bool is_optional<std::optional<F>> = true;

// `field`: a member pointer or a callable that gives a reference into T. The default shown in the
// reference is the field's value in a fresh T.
template <class T, class Field, class V>
Row<T> row_of(std::string key, Field field, Type<V> type, std::string help) {
  using F = std::remove_cvref_t<std::invoke_result_t<Field, T&>>;
  T fresh{};
  const F& initial = std::invoke(field, fresh);
  Row<T> row;
  row.reference = {std::move(key), type.name, type.range, {}, std::move(help), false};
  const bool set = [&] {
    if constexpr (is_optional<F>) return initial.has_value();
    return true;
  }();
  if (set) row.reference.initial = type.show(to_value<V>(initial));
  row.read = [field, read = std::move(type.read)](Reader& reader, const Value& value, const std::string& path,
                                                  T& out) {
    F& target = std::invoke(field, out);
    V parsed = to_value<V>(target);
    const std::size_t errors = reader.errors();
    read(reader, value, path, parsed);
    if (reader.errors() != errors) return;
    if constexpr (std::is_arithmetic_v<F>) {
      target = static_cast<F>(parsed);
    } else {
      target = std::move(parsed);
    }
  };
  return row;
}

template <class T, class F, class V>
Row<T> row(std::string key, F T::* field, Type<V> type, std::string help) {
  return row_of<T>(std::move(key), field, std::move(type), std::move(help));
}

// The key must be there.
template <class T>
Row<T> required(Row<T> row) {
  row.reference.required = true;
  row.reference.initial.clear();
  return row;
}

// What the reference says instead of the fresh value.
template <class T>
Row<T> defaulting(Row<T> row, std::string initial) {
  row.reference.initial = std::move(initial);
  return row;
}

template <class T>
void report_unknown(Reader& reader, const Table<T>& table, const Entry& entry, const std::string& path) {
  std::string text = entry.value.kind == Value::Kind::table || entry.value.is_array_of_tables()
                         ? "unknown table"
                         : "unknown key";
  if (const auto near = closest(entry.key, table.keys()); !near.empty()) {
    text += "; did you mean \"" + std::string(near) + "\"?";
  } else if (const auto elsewhere = tables_with_key(entry.key); !elsewhere.empty()) {
    text += "; it belongs in " + elsewhere;
  }
  reader.error(entry.at, path.empty() ? entry.key : path + '.' + entry.key, std::move(text));
}

// Reads `value`, which stands at `path` ("" for the file itself), into `out`.
template <class T>
void read_table(Reader& reader, const Table<T>& table, const Value& value, const std::string& path, T& out) {
  if (value.kind != Value::Kind::table) return reader.expected(value, path, "a table");
  const auto join = [&](const std::string& key) { return path.empty() ? key : path + '.' + key; };
  std::vector<const Entry*> known;
  for (const auto& row : table.rows) {
    const Entry* entry = value.find(row.reference.key);
    if (entry != nullptr && entry->value.is_array_of_tables()) entry = nullptr;  // perhaps a child
    if (entry != nullptr) {
      known.push_back(entry);
      row.read(reader, entry->value, join(row.reference.key), out);
    } else if (row.reference.required) {
      reader.error(value.at, join(row.reference.key), "missing; expected " + row.reference.type);
    }
  }
  for (const auto& child : table.children) {
    const Entry* entry = value.find(child.key);
    if (entry == nullptr || std::find(known.begin(), known.end(), entry) != known.end()) continue;
    known.push_back(entry);
    child.read(reader, entry->value, join(child.key), out);
  }
  for (const Entry& entry : value.entries) {
    if (std::find(known.begin(), known.end(), &entry) == known.end()) {
      report_unknown(reader, table, entry, path);
    }
  }
}

template <class T>
void describe_table(const Table<T>& table, const std::string& path, bool array,
                    std::vector<TableReference>& out) {
  TableReference reference{path, array, table.help, {}};
  for (const auto& row : table.rows) reference.keys.push_back(row.reference);
  if (!path.empty() || !reference.keys.empty()) out.push_back(std::move(reference));
  for (const auto& child : table.children)
    child.describe(out, path.empty() ? child.key : path + '.' + child.key);
}

// A table [key] whose rows fill what `field` (member pointer or callable) gives.
template <class T, class Field, class U>
Child<T> child_of(std::string key, Field field, const Table<U>& table) {
  Child<T> child;
  child.key = std::move(key);
  child.read = [field, &table](Reader& reader, const Value& value, const std::string& path, T& out) {
    read_table(reader, table, value, path, static_cast<U&>(std::invoke(field, out)));
  };
  child.describe = [&table](std::vector<TableReference>& out, const std::string& path) {
    describe_table(table, path, false, out);
  };
  return child;
}

template <class T, class U>
Child<T> child(std::string key, U T::* field, const Table<U>& table) {
  return child_of<T>(std::move(key), field, table);
}

// At most `maximum` tables [[key]]; `fresh`, where given, makes each before its rows are read.
template <class T, class Field, class U>
Child<T> children_of(std::string key, Field field, const Table<U>& table, std::size_t maximum = 1000,
                     std::type_identity_t<std::function<U(const T&)>> fresh = nullptr) {
  Child<T> child;
  child.key = std::move(key);
  child.array = true;
  child.read = [field, &table, fresh = std::move(fresh), maximum](Reader& reader, const Value& value,
                                                                  const std::string& path, T& out) {
    if (value.kind != Value::Kind::array) return reader.expected(value, path, "tables [[" + path + "]]");
    if (value.items.size() > maximum) {
      return reader.error(value.at, path, "more than " + std::to_string(maximum) + " tables");
    }
    auto& all = std::invoke(field, out);
    for (std::size_t i = 0; i < value.items.size(); ++i) {
      U one = fresh ? fresh(out) : U{};
      read_table(reader, table, value.items[i], path + '[' + std::to_string(i + 1) + ']', one);
      all.push_back(std::move(one));
    }
  };
  child.describe = [&table](std::vector<TableReference>& out, const std::string& path) {
    describe_table(table, path, true, out);
  };
  return child;
}

}  // namespace portcullis::config
