// A directory with what a configuration refers to: certificate, keys, accounts, secrets. Removed at the
// end. Certificates are only looked for here, not parsed.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

namespace portcullis::config {

inline std::string file_content(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  EXPECT_TRUE(stream.is_open()) << path;
  return {std::istreambuf_iterator<char>(stream), {}};
}

class Site {
 public:
  Site() {
    std::string pattern = (std::filesystem::temp_directory_path() / "portcullis-config-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root_ = pattern;
    add("cert.pem", "certificate", 0644);
    add("key.pem", "key", 0640);
    add("open-key.pem", "key", 0644);
    add("ca.pem", "ca", 0644);
    add("users", "", 0640);
    add("secret", "hunter2\n", 0600);
    add("open-secret", "hunter2\n", 0644);
    add("two-lines", "one\ntwo\n", 0600);
  }
  ~Site() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;

  std::string add(const std::string& name, std::string_view content, mode_t mode) const {
    const auto path = root_ / name;
    std::ofstream(path, std::ios::binary) << content;
    if (chmod(path.c_str(), mode) != 0) throw std::runtime_error("chmod");
    return path.string();
  }
  std::string path(const std::string& name) const { return (root_ / name).string(); }
  std::string root() const { return root_.string(); }

 private:
  std::filesystem::path root_;
};

// `text` with every `what` replaced.
inline std::string replaced(std::string text, std::string_view what, std::string_view with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size()) {
    text.replace(at, what.size(), with);
  }
  return text;
}

}  // namespace portcullis::config
