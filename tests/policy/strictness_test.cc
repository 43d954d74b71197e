// The strictness rules: which may be relaxed, and when.
#include "policy/strictness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "tests/policy/fixtures.h"

namespace portcullis::policy::test {
namespace {

using smtp::Strictness;

Mode mode_of(const Settings& settings, Strictness rule) {
  return strictness_modes(settings)[static_cast<std::size_t>(rule)];
}

// Nobody's author is judged by an enforced rule.
Settings watching() {
  Settings s;
  s.identity.mode = Mode::shadow;
  s.outside.spoof_mode = Mode::shadow;
  return s;
}

TEST(Strictness, EveryRuleHasAName) {
  std::set<std::string_view> names;
  for (const StrictnessRow& row : strictness_rows()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(row.help.ends_with('.')) << row.name;
    EXPECT_TRUE(row.relaxed == Relaxed::freely || row.initial == Mode::enforce) << row.name;
  }
}

// The table of docs/header-strictness.md says what this one says.
TEST(Strictness, TheDocumentHasTheTable) {
  std::ifstream file(PORTCULLIS_SOURCE_DIR "/docs/header-strictness.md");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| `")) lines.push_back(line);
  }
  for (const StrictnessRow& row : strictness_rows()) {
    const std::string relaxed = row.relaxed == Relaxed::never    ? "never"
                                : row.relaxed == Relaxed::freely ? "freely"
                                                                 : "without identity";
    const std::string end = "| " + std::string(name_of(row.initial)) + " | " + relaxed + " |";
    EXPECT_TRUE(std::ranges::any_of(lines,
                                    [&](const std::string& line) {
                                      return line.ends_with(end) &&
                                             line.contains('`' + std::string(row.name) + '`');
                                    }))
        << row.name << " … " << end;
  }
}

TEST(Strictness, OneModeForAll) {
  Settings s = watching();
  for (const StrictnessRow& row : strictness_rows()) EXPECT_EQ(mode_of(s, row.rule), row.initial) << row.name;
  s.strictness.mode = Mode::shadow;
  for (const StrictnessRow& row : strictness_rows()) {
    const Mode expected = row.relaxed == Relaxed::never ? Mode::enforce
                          : row.initial == Mode::off    ? Mode::off
                                                        : Mode::shadow;
    EXPECT_EQ(mode_of(s, row.rule), expected) << row.name;
  }
}

TEST(Strictness, OfOneRule) {
  Settings s = watching();
  s.strictness.own[static_cast<std::size_t>(Strictness::field_once)] = Mode::enforce;
  s.strictness.own[static_cast<std::size_t>(Strictness::author_syntax)] = Mode::off;
  s.strictness.own[static_cast<std::size_t>(Strictness::message_nul)] = Mode::off;  // has no key
  EXPECT_EQ(mode_of(s, Strictness::field_once), Mode::enforce);
  EXPECT_EQ(mode_of(s, Strictness::author_syntax), Mode::off);
  EXPECT_EQ(mode_of(s, Strictness::message_nul), Mode::enforce);
}

TEST(Strictness, TheAuthorStaysUnambiguousWhereAnyRuleJudgesIt) {
  Settings identity = watching(), outside = watching(), domain = watching(), envelope = watching();
  identity.identity.mode = Mode::enforce;
  outside.outside.spoof_mode = Mode::enforce;
  domain.domain_rules = {{.name = "d"}};
  envelope.domain_rules = {{.name = "d", .check_header = false}};
  for (const StrictnessRow& row : strictness_rows()) {
    if (row.relaxed != Relaxed::without_identity) continue;
    for (Settings* s : {&identity, &outside, &domain}) {
      s->strictness.own[static_cast<std::size_t>(row.rule)] = Mode::off;
      EXPECT_EQ(mode_of(*s, row.rule), Mode::enforce) << row.name;
    }
    envelope.strictness.own[static_cast<std::size_t>(row.rule)] = Mode::off;
    EXPECT_EQ(mode_of(envelope, row.rule), Mode::off) << row.name;
  }
}

TEST(Strictness, FiresLikeAnyRule) {
  Settings s = watching();
  s.strictness.own[static_cast<std::size_t>(Strictness::author_count)] = Mode::shadow;
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  const smtp::Reply reply{550, "5.6.0", "Two From fields"};
  const auto shadow = chain.strict(Stage::header, Strictness::author_count, reply);
  EXPECT_EQ(outcome(chain, shadow), "accept");
  EXPECT_EQ(hits(chain, shadow), "shadow reject author_count header none\n");
  EXPECT_EQ(outcome(chain, chain.strict(Stage::command, Strictness::command_line, reply)),
            "550 5.6.0 command_line");
  EXPECT_TRUE(chain.strict(Stage::header, Strictness::field_once, reply).hits.empty()) << "off";
}

}  // namespace
}  // namespace portcullis::policy::test
