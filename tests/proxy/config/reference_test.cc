// The documents say what the program does: the key tables of docs/configuration.md and
// portcullis.toml(5) are the rows, word for word. To write them anew:
//   portcullis check --print-keys=markdown   between the two marks in docs/configuration.md
//   portcullis check --print-keys=man        likewise in docs/man/portcullis.toml.5
#include "proxy/config/reference.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "proxy/config/config.h"
#include "tests/proxy/config/site.h"

namespace portcullis::config {
namespace {

// What stands between two marks.
std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const auto from = text.find(begin), to = text.find(end);
  if (from == std::string::npos || to == std::string::npos) return "the marks are missing";
  return text.substr(from + begin.size(), to - from - begin.size());
}

std::string document(const char* name) {
  return file_content(std::filesystem::path(PORTCULLIS_SOURCE_DIR) / name);
}

TEST(ReferenceTest, markdown_is_up_to_date) {
  EXPECT_EQ(between(document("docs/configuration.md"), "<!-- keys: begin -->\n", "<!-- keys: end -->\n"),
            reference_markdown());
}

TEST(ReferenceTest, man_page_is_up_to_date) {
  EXPECT_EQ(between(document("docs/man/portcullis.toml.5"), ".\\\" keys: begin\n", ".\\\" keys: end\n"),
            reference_man());
}

TEST(ReferenceTest, every_key_is_explained) {
  std::size_t keys = 0;
  for (const TableReference& table : all_tables()) {
    EXPECT_FALSE(table.help.empty()) << table.path;
    std::set<std::string> names;
    for (const KeyReference& key : table.keys) {
      EXPECT_TRUE(names.insert(key.key).second) << table.path << '.' << key.key << " has two rows";
      EXPECT_FALSE(key.type.empty()) << table.path << '.' << key.key;
      EXPECT_TRUE(key.help.ends_with('.')) << table.path << '.' << key.key;
      ++keys;
    }
  }
  EXPECT_GT(keys, 100U);
}

// "30s" may stand in the reference as a default only if the file may say it: each default is read back.
TEST(ReferenceTest, every_default_is_a_value_of_its_key) {
  for (const TableReference& table : all_tables()) {
    std::string text;
    for (const KeyReference& key : table.keys) {
      const bool shown = !key.required && !key.initial.empty() && key.initial != "\"\"" &&
                         key.initial != "[]" && !key.initial.starts_with("as in");
      if (shown) text += key.key + " = " + key.initial + '\n';
    }
    if (text.empty()) continue;
    const std::string heading =
        table.path.empty() ? "" : (table.array ? "[[" + table.path + "]]" : '[' + table.path + ']') + '\n';
    for (const Problem& problem : load_text(heading + text, "defaults").problems) {
      // What is missing around the table is of no interest here.
      const bool misread =
          problem.text.starts_with("expected") || problem.text.find(" is not ") != std::string::npos;
      EXPECT_FALSE(misread && problem.line != 0) << to_string(problem);
    }
  }
}

}  // namespace
}  // namespace portcullis::config
