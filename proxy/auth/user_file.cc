#include "proxy/auth/user_file.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>
#include <utility>

#include "policy/identity.h"
#include "proxy/auth/owned_names.h"
#include "proxy/auth/password_hash.h"

namespace portcullis::auth {

namespace {

std::optional<std::string> canonical_grant(std::string_view text) {
  const auto granted = granted_addresses(text);
  return granted ? std::optional(granted->text()) : std::nullopt;
}

class LineParser {
 public:
  ParsedUserLine parse(std::string_view line);

 private:
  using Canonical = std::optional<std::string> (*)(std::string_view);
  void list(std::string_view field, std::size_t column, const char* what, Canonical canonical,
            std::vector<std::string>& out);
  void problem(std::size_t offset, std::string text) {
    out_.problems.push_back({0, static_cast<std::uint32_t>(offset + 1), std::move(text)});
  }
  void read(std::string_view line);

  ParsedUserLine out_;
};

void LineParser::list(std::string_view field, std::size_t column, const char* what, Canonical canonical,
                      std::vector<std::string>& out) {
  if (field.empty()) return;
  for (std::size_t at = 0; at <= field.size();) {
    const std::size_t comma = std::min(field.find(',', at), field.size());
    std::string_view item = field.substr(at, comma - at);
    std::size_t item_at = at;
    while (item.starts_with(' ')) {
      item.remove_prefix(1);
      ++item_at;
    }
    while (item.ends_with(' ')) item.remove_suffix(1);
    if (auto value = canonical(item)) {
      append_unique(out, std::move(*value));
    } else {
      problem(column + item_at,
              item.empty() ? std::string("empty ") + what : std::string("not a valid ") + what);
    }
    at = comma + 1;
  }
}

void LineParser::read(std::string_view line) {
  const std::size_t start = line.find_first_not_of(" \t");
  if (start == std::string_view::npos || line[start] == '#') return;
  if (line.size() > user_line_octets_max) return problem(user_line_octets_max, "the line is too long");
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\r') return problem(i, "a carriage return: lines end in LF alone");
    if (static_cast<unsigned char>(line[i]) < 0x20 || line[i] == 0x7f)
      return problem(i, "a control character");
  }
  // At most four fields; nothing in them may contain a colon.
  std::array<std::string_view, 4> field;
  std::array<std::size_t, 4> column{};
  std::size_t fields = 0;
  for (std::size_t at = 0; at <= line.size(); ++fields) {
    const std::size_t colon = std::min(line.find(':', at), line.size());
    if (fields == field.size()) return problem(at - 1, "more than four fields");
    field[fields] = line.substr(at, colon - at);
    column[fields] = at;
    at = colon + 1;
  }
  if (fields < 2) return problem(line.size(), "expected login:hash[:addresses[:groups]]");

  UserEntry& entry = out_.entry;
  auto login = policy::canonical_login(field[0]);
  if (!login) return problem(0, "not a valid login");
  entry.login = std::move(*login);
  entry.hash = field[1];
  if (!entry.locked()) {
    if (const auto text = hash_problem(entry.hash); !text.empty()) problem(column[1], std::string(text));
  }
  list(field[2], column[2], "address", canonical_grant, entry.addresses);
  list(field[3], column[3], "group name", group_name, entry.groups);
}

ParsedUserLine LineParser::parse(std::string_view line) {
  read(line);
  return std::move(out_);
}

}  // namespace

std::string UserEntry::usable_hash() const {
  if (!locked()) return hash;
  std::string rest = hash.substr(std::min(hash.find_first_not_of("!*"), hash.size()));
  return hash_problem(rest).empty() ? rest : std::string();
}

ParsedUserLine parse_user_line(std::string_view line) { return LineParser().parse(line); }

ParsedUserFile parse_user_file(std::string_view text) {
  ParsedUserFile out;
  if (text.size() > user_file_octets_max) {
    out.problems.push_back({0, 0, "the file is too large"});
    return out;
  }
  std::unordered_map<std::string, std::uint32_t> line_of;
  for (std::uint32_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    ParsedUserLine line = parse_user_line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.entry.login.empty()) {
      const auto [found, is_new] = line_of.emplace(line.entry.login, number);
      if (!is_new) {
        line.problems.push_back({0, 1, "the login is in line " + std::to_string(found->second) + " already"});
      }
    }
    for (UserFileProblem& problem : line.problems) {
      problem.line = number;
      if (out.problems.size() < user_file_problems_max) out.problems.push_back(std::move(problem));
    }
    if (!line.problems.empty() || line.entry.login.empty()) continue;
    line.entry.line = number;
    out.entries.push_back(std::move(line.entry));
  }
  return out;
}

policy::Account account_of(const UserEntry& entry) {
  policy::Account account{.login = entry.login, .groups = entry.groups, .backend = "file"};
  for (const std::string& text : entry.addresses) grant(account, text);
  return account;
}

std::string to_string(const UserFileProblem& problem, std::string_view path) {
  std::string text(path);
  if (problem.line != 0) text += ':' + std::to_string(problem.line) + ':' + std::to_string(problem.column);
  return text + ": " + problem.text;
}

}  // namespace portcullis::auth
