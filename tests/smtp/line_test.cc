#include "smtp/line.h"

#include <gtest/gtest.h>

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "tests/smtp/segments.h"

namespace portcullis::smtp {

static std::ostream& operator<<(std::ostream& out, LineStatus status) {
  return out << static_cast<int>(status);
}

namespace {

using std::string_literals::operator""s;

constexpr std::size_t max_octets = 16;

struct Event {
  LineStatus status;
  std::string text;
  std::size_t consumed;
  bool operator==(const Event&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Event& event) {
  return out << "{" << event.status << ", '" << event.text << "', " << event.consumed << "}";
}

// What a caller sees that keeps the undecided octets and goes on after a fault.
std::vector<Event> events_of(std::string_view bytes, const test::Cuts& cuts) {
  std::vector<Event> events;
  std::string kept;
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    kept += bytes.substr(at, cut);
    at += cut;
    for (;;) {
      const test::ExactBuffer buffer(kept);
      const LineResult result = next_line(buffer.view(), max_octets);
      EXPECT_EQ(result.status == LineStatus::need_more, result.consumed == 0);
      EXPECT_LE(result.consumed, kept.size());
      if (result.status == LineStatus::need_more) break;
      events.push_back({result.status, std::string(result.text), result.consumed});
      kept.erase(0, result.consumed);
    }
  }
  return events;
}

struct Case {
  const char* name;
  std::string bytes;
  std::vector<Event> events;
};

const Case cases[] = {
    {"nothing", "", {}},
    {"half a line", "NOOP", {}},
    {"line end cut", "NOOP\r", {}},
    {"one line", "NOOP\r\n", {{LineStatus::line, "NOOP", 6}}},
    {"empty line", "\r\n", {{LineStatus::line, "", 2}}},
    {"two lines", "A\r\nB\r\n", {{LineStatus::line, "A", 3}, {LineStatus::line, "B", 3}}},
    {"bare LF", "AB\nC\r\n", {{LineStatus::bare_lf, "", 3}, {LineStatus::line, "C", 3}}},
    {"LF LF", "\n\n", {{LineStatus::bare_lf, "", 1}, {LineStatus::bare_lf, "", 1}}},
    {"bare CR", "A\rB\r\n", {{LineStatus::bare_cr, "", 2}, {LineStatus::line, "B", 3}}},
    {"CR CR LF", "A\r\r\n", {{LineStatus::bare_cr, "", 2}, {LineStatus::line, "", 2}}},
    {"NUL", "A\0B\r\n"s, {{LineStatus::nul, "", 2}, {LineStatus::line, "B", 3}}},
    {"NUL after CR",
     "A\r\0\r\n"s,
     {{LineStatus::bare_cr, "", 2}, {LineStatus::nul, "", 1}, {LineStatus::line, "", 2}}},
    {"NUL before bare LF", "\0\n"s, {{LineStatus::nul, "", 1}, {LineStatus::bare_lf, "", 1}}},
    {"longest", "0123456789abcd\r\n", {{LineStatus::line, "0123456789abcd", 16}}},
    {"LF one too far", "0123456789abcde\r\n", {{LineStatus::too_long, "", 16}, {LineStatus::bare_lf, "", 1}}},
    {"too long", "0123456789abcdefg\r\n", {{LineStatus::too_long, "", 16}, {LineStatus::line, "g", 3}}},
    {"8-bit passes", "\xc3\xa9\xff\r\n", {{LineStatus::line, "\xc3\xa9\xff", 5}}},
    {"controls pass", "\x01\x7f\r\n", {{LineStatus::line, "\x01\x7f", 4}}},
};

TEST(NextLine, SplitsTheSameUnderEverySegmentation) {
  for (const Case& c : cases) {
    auto ways = test::segmentations(c.bytes.size());
    for (const auto& cuts : test::every_cut(c.bytes.size())) ways.push_back(cuts);
    for (const auto& cuts : ways) {
      EXPECT_EQ(events_of(c.bytes, cuts), c.events) << c.name << " in " << cuts.size() << " pieces";
    }
  }
}

}  // namespace
}  // namespace portcullis::smtp
