// The configurations we hand out are good ones: each loads without a problem, in a tree that has the
// files it names.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "proxy/config/config.h"
#include "tests/proxy/config/site.h"

namespace portcullis::config {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> examples() {
  const fs::path top(PORTCULLIS_SOURCE_DIR);
  std::vector<fs::path> found{top / "etc/portcullis.toml"};
  for (const auto& entry : fs::directory_iterator(top / "etc/examples")) {
    if (entry.path().extension() == ".toml") found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Problems of `text` with the directories of an installed system below `site`.
std::string problems_in(const Site& site, std::string text) {
  for (const char* directory : {"tls", "state", "log"})
    fs::create_directories(fs::path(site.root()) / directory);
  for (const char* name : {"tls/fullchain.pem", "tls/ca.pem", "tls/other.pem"})
    site.add(name, "public", 0644);
  for (const char* name : {"tls/privkey.pem", "tls/other-key.pem"}) site.add(name, "private", 0640);
  for (const char* name : {"ldap-password", "smart-host-password"}) site.add(name, "secret\n", 0640);
  text = replaced(std::move(text), "/etc/portcullis", site.root());
  text = replaced(std::move(text), "/var/lib/portcullis", site.path("state"));
  text = replaced(std::move(text), "/var/log/portcullis", site.path("log"));
  std::string said;
  for (const Problem& problem : load_text(text, "example").problems) said += to_string(problem) + '\n';
  return said;
}

class ExampleTest : public testing::TestWithParam<fs::path> {};

TEST_P(ExampleTest, loads_without_a_problem) { EXPECT_EQ(problems_in(Site(), file_content(GetParam())), ""); }

INSTANTIATE_TEST_SUITE_P(Files, ExampleTest, testing::ValuesIn(examples()), [](const auto& test) {
  std::string name = test.param.stem().string();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// What the README shows is tried by readers as it stands.
TEST(ReadmeTest, its_configuration_loads_without_a_problem) {
  const std::string text = file_content(fs::path(PORTCULLIS_SOURCE_DIR) / "README.md");
  const auto block = text.find("```toml\n");
  ASSERT_NE(block, std::string::npos);
  const auto begin = block + 8;
  EXPECT_EQ(problems_in(Site(), text.substr(begin, text.find("```", begin) - begin)), "");
}

}  // namespace
}  // namespace portcullis::config
