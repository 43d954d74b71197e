// The user file: one account a line, "login:hash[:addresses[:groups]]". Addresses (owned besides the
// login, "*@domain" allowed: the file is configuration, its users do not write it) and groups are
// comma-separated. Blank lines and lines that begin with '#'
// are skipped. Lines end in LF. A hash that begins with '!' or '*' locks the account. Any other line is a
// problem; each reader decides what becomes of the rest.
//
//   alice@example.com:$y$j9T$…:alice.smith@example.com,sales@example.com:staff
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policy/identity.h"

namespace portcullis::auth {

inline constexpr std::size_t user_file_octets_max = 64UL * 1024 * 1024;
inline constexpr std::size_t user_line_octets_max = 16UL * 1024;
inline constexpr std::size_t user_file_problems_max = 100;  // reported at once
// A comment that says that a file without accounts is meant so: `passwd remove` writes it for the last one.
inline constexpr std::string_view user_file_no_accounts = "# no accounts";

struct UserEntry {
  std::string login;                   // canonical
  std::string hash;                    // as in the file, with the marks of a locked account
  std::vector<std::string> addresses;  // canonical, as granted_addresses() takes them
  std::vector<std::string> groups;     // canonical
  std::uint32_t line = 0;              // from 1

  bool locked() const { return hash.starts_with('!') || hash.starts_with('*'); }
  // Without the marks; empty where no password could match.
  std::string usable_hash() const;
};

struct UserFileProblem {
  std::uint32_t line = 0;    // from 1; 0: the file as a whole
  std::uint32_t column = 0;  // octet in the line, from 1
  std::string text;
};

struct ParsedUserFile {
  std::vector<UserEntry> entries;         // in the order of the file
  std::vector<UserFileProblem> problems;  // empty: all is well
};

// One line without its LF. Problems have no line number; when there is any, the entry has a login only where
// that could be read. Nothing of either: a blank line or a comment.
struct ParsedUserLine {
  UserEntry entry;
  std::vector<UserFileProblem> problems;
};
ParsedUserLine parse_user_line(std::string_view line);

// All of a file. A login that comes twice is a problem of the second line.
ParsedUserFile parse_user_file(std::string_view text);

// What the entry's owner is to the policies.
policy::Account account_of(const UserEntry& entry);

// "path:line:column: text"
std::string to_string(const UserFileProblem& problem, std::string_view path);

}  // namespace portcullis::auth
