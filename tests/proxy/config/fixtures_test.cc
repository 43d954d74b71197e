// Every tests/configs/bad/*.toml is refused, and every warn/*.toml accepted, with exactly the problems
// that stand in the .expected file beside it. Each is loaded from a directory that has the files it
// names (site.h), as a file that everybody may read.
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

std::vector<fs::path> fixtures() {
  std::vector<fs::path> found;
  for (const char* kind : {"bad", "warn"}) {
    for (const auto& entry :
         fs::directory_iterator(fs::path(PORTCULLIS_SOURCE_DIR) / "tests/configs" / kind)) {
      if (entry.path().extension() == ".toml") found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

class FixtureTest : public testing::TestWithParam<fs::path> {};

TEST_P(FixtureTest, says_what_is_expected) {
  const fs::path& fixture = GetParam();
  const Site site;
  const Loaded loaded = load(site.add(fixture.filename().string(), file_content(fixture), 0644));
  std::string said;
  for (const Problem& problem : loaded.problems) said += to_string(problem) + '\n';
  said = replaced(said, site.root() + '/', "");
  EXPECT_EQ(said, file_content(fs::path(fixture).replace_extension(".expected")));
  EXPECT_EQ(loaded.config == nullptr, fixture.parent_path().filename() == "bad");
}

INSTANTIATE_TEST_SUITE_P(Files, FixtureTest, testing::ValuesIn(fixtures()), [](const auto& test) {
  std::string name = test.param.parent_path().filename().string() + '_' + test.param.stem().string();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace portcullis::config
