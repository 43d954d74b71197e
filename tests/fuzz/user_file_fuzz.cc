// The user file's parser: whatever the bytes, no account that the file could not hold comes out, and
// problems point into the text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "proxy/auth/user_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace portcullis::auth;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const ParsedUserFile parsed = parse_user_file(text);
  for (const UserEntry& entry : parsed.entries) {
    if (entry.login.empty() || entry.login.find_first_of(":\n") != std::string::npos) std::abort();
    if (entry.line == 0) std::abort();
  }
  for (const UserFileProblem& problem : parsed.problems) {
    if (problem.column > size + 1 || problem.line > size || problem.text.empty()) std::abort();
  }
  if (parsed.problems.size() > user_file_problems_max) std::abort();
  return 0;
}
