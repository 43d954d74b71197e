// The user file: one account a line, "login:hash[:addresses[:groups]]". Addresses (owned besides the
// login, "*@domain" allowed) and groups are comma-separated. Blank lines and lines that begin with '#'
// are skipped. Lines end in LF. Anything else is an error: a file with one is not used at all, so that a
// typing error can not quietly lock somebody out.
//
//   alice@example.com:$y$j9T$…:alice.smith@example.com,sales@example.com:staff
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis::auth {

inline constexpr std::size_t user_file_octets_max = 64UL * 1024 * 1024;
inline constexpr std::size_t user_line_octets_max = 16UL * 1024;
inline constexpr std::size_t user_file_problems_max = 100;  // reported at once

struct UserEntry {
  std::string login;  // canonical
  std::string hash;
  std::vector<std::string> addresses;  // canonical
  std::vector<std::string> groups;     // canonical
  std::uint32_t line = 0;              // from 1
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

ParsedUserFile parse_user_file(std::string_view text);

// "path:line:column: text"
std::string to_string(const UserFileProblem& problem, std::string_view path);

}  // namespace portcullis::auth
