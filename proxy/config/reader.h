// Collects what is wrong while a document becomes settings. Reading never stops at the first problem:
// an admin gets all of them at once.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/config/value.h"

namespace portcullis::config {

class Reader {
 public:
  // `file` is shown in problems; relative paths in it are taken from its directory.
  explicit Reader(std::string file);

  void error(Position at, std::string_view key, std::string text);
  void warning(Position at, std::string_view key, std::string text);
  // "expected a duration such as "30s", got an integer".
  void expected(const Value& value, std::string_view key, std::string_view what);

  // `path` made absolute against the directory of the configuration file.
  std::string absolute(std::string_view path) const;

  bool failed() const { return errors_ > 0; }
  std::size_t errors() const { return errors_; }
  std::vector<Problem> take_problems();  // in the order of the file

 private:
  std::string file_;
  std::size_t errors_ = 0;
  std::vector<Problem> problems_;
};

// The candidate closest to `word`, if it is close enough to be a slip of the fingers; else empty.
std::string_view closest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace portcullis::config
