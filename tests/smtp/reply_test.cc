#include "smtp/reply.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "smtp/limits.h"
#include "tests/smtp/segments.h"

namespace portcullis::smtp {

static void PrintTo(const Reply& reply, std::ostream* out) {
  *out << reply.code << " [" << reply.enhanced << "] " << testing::PrintToString(reply.text);
}

namespace {

using std::string_literals::operator""s;

std::string wire(const Reply& reply) {
  std::string out;
  append_wire(out, reply);
  return out;
}

TEST(AppendWire, Table) {
  struct Case {
    Reply reply;
    std::string bytes;
  };
  const Case cases[] = {
      {{250, "2.0.0", "Ok"}, "250 2.0.0 Ok\r\n"},
      {{354, "", "Go ahead"}, "354 Go ahead\r\n"},
      {{334, "", ""}, "334 \r\n"},
      {{250, "2.0.0", ""}, "250 2.0.0\r\n"},
      {{250, "", "mx greets you\nPIPELINING\nSIZE 10"},
       "250-mx greets you\r\n250-PIPELINING\r\n250 SIZE 10\r\n"},
      {{550, "5.7.1", "a\nb"}, "550-5.7.1 a\r\n550 5.7.1 b\r\n"},
      {{550, "", "a\n"}, "550-a\r\n550 \r\n"},
      {{550, "", "\n\na"}, "550-\r\n550-\r\n550 a\r\n"},
      // Nothing that is quoted can end the line, start a reply, or drive a terminal.
      {{550, "5.1.1", "<a\r@b>\r\n250 ok"}, "550-5.1.1 <a?@b>?\r\n550 5.1.1 250 ok\r\n"},
      {{550, "5.1.1\r\n250", "x"}, "550 5.1.1??250 x\r\n"},
      {{550, "", "\0\x01\x1b[2J\x7f"s}, "550 ???[2J?\r\n"},
      {{550, "", "a\tb"}, "550 a\tb\r\n"},
      {{550, "", "gr\xc3\xbc\xc3\x9f"}, "550 gr\xc3\xbc\xc3\x9f\r\n"},
      {{550, "", "\xff\xc3 \xc2\x85 \xed\xa0\x80"}, "550 ?? ?? ???\r\n"},
  };
  for (const Case& c : cases) EXPECT_EQ(wire(c.reply), c.bytes);
  std::string out = "before";
  append_wire(out, {250, "", "Ok"});
  EXPECT_EQ(out, "before250 Ok\r\n");
}

TEST(AppendWire, CutsLongLinesButNoCharacter) {
  EXPECT_EQ(wire({250, "", std::string(600, 'x')}), "250 " + std::string(506, 'x') + "\r\n");
  std::string text;
  for (int i = 0; i < 300; ++i) text += "\xc3\xa9";
  EXPECT_EQ(wire({250, "", text}).size(), 512U);
  EXPECT_EQ(wire({250, "", "x" + text}).size(), 511U);
  EXPECT_EQ(wire({250, "", "a\n" + std::string(600, 'x') + "\nb"}).size(), 7U + 512U + 7U);
}

TEST(CleanedText, KeepsLinesAndLengthWithinBounds) {
  EXPECT_EQ(cleaned_text("a\nb\r\x1b\xff", 100), "a\nb???");
  EXPECT_EQ(cleaned_text("a\u202eb\u200bc\u00e9", 100), "a???b???c\u00e9");  // bidi, invisible, and a letter
  EXPECT_EQ(cleaned_text("a\u034f\u17b4\u17b5\u180f\U00013430", 100),
            "a" + std::string(2 + 3 + 3 + 3 + 4, '?'));
  EXPECT_EQ(cleaned_text("abc", 2), "ab");
  EXPECT_EQ(cleaned_text("a\xc3\xa9", 2), "a");
  EXPECT_EQ(cleaned_text("", 0), "");
  EXPECT_EQ(cleaned_text("\x80\x80\x80\x80\x80\x80", 5), "?????");
}

TEST(GenericEnhancedCode, FollowsTheClass) {
  EXPECT_EQ(generic_enhanced_code(250), "2.0.0");
  EXPECT_EQ(generic_enhanced_code(354), "");
  EXPECT_EQ(generic_enhanced_code(451), "4.0.0");
  EXPECT_EQ(generic_enhanced_code(571), "5.0.0");
}

struct Parsed {
  std::vector<Reply> replies;
  bool malformed = false;
  bool operator==(const Parsed&) const = default;
};

Parsed parse(std::string_view bytes, const test::Cuts& cuts) {
  Parsed parsed;
  ReplyParser parser;
  EXPECT_TRUE(parser.idle());
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    const test::ExactBuffer piece(bytes.substr(at, cut));
    std::string_view rest = piece.view();
    at += cut;
    while (!rest.empty()) {
      const std::size_t consumed = parser.feed(rest);
      EXPECT_LE(consumed, rest.size());
      EXPECT_FALSE(parser.idle());
      rest.remove_prefix(consumed);
      if (parser.status() == ReplyParser::Status::malformed) {
        parsed.malformed = true;
        EXPECT_TRUE(rest.empty());
      } else if (parser.status() == ReplyParser::Status::complete) {
        EXPECT_EQ(parser.feed("250 more\r\n"), 0U);
        parsed.replies.push_back(parser.take());
        EXPECT_TRUE(parser.idle());
      } else {
        EXPECT_TRUE(rest.empty());
      }
    }
  }
  return parsed;
}

TEST(ReplyParser, Table) {
  struct Case {
    std::string bytes;
    Parsed parsed;
  };
  const std::string long_line(limits::reply_line_octets - 4, 'x');
  std::string many;
  for (std::size_t i = 1; i < limits::reply_lines; ++i) many += "250-\r\n";
  std::string wide;
  for (int i = 0; i < 4; ++i) wide += "250-" + long_line + "\r\n";
  const Case cases[] = {
      {"", {}},
      {"250 Ok", {}},
      {"250-a\r\n", {}},
      {"250 Ok\r\n", {{{250, "", "Ok"}}}},
      {"250 Ok\n", {{{250, "", "Ok"}}}},
      {"250 Ok\r\r\n", {{{250, "", "Ok"}}}},
      {"250\r\n", {{{250, "", ""}}}},
      {"250 \r\n", {{{250, "", ""}}}},
      {"250  two\r\n", {{{250, "", " two"}}}},
      {"220 a\r\n250 b\r\n", {{{220, "", "a"}, {250, "", "b"}}}},
      {"250-a\r\n250-b\r\n250 c\r\n", {{{250, "", "a\nb\nc"}}}},
      {"250-\r\n250 c\r\n", {{{250, "", "\nc"}}}},
      {"250-a\r\n250\r\n", {{{250, "", "a\n"}}}},
      {"250 2.0.0 Ok\r\n", {{{250, "2.0.0", "Ok"}}}},
      {"250 2.0.0\r\n", {{{250, "2.0.0", ""}}}},
      {"550-5.7.1 a\r\n550 5.7.1 b\r\n", {{{550, "5.7.1", "a\nb"}}}},
      {"550-5.7.1 a\r\n550 5.1.1 b\r\n", {{{550, "5.7.1", "a\n5.1.1 b"}}}},
      {"550-a\r\n550 5.1.1 b\r\n", {{{550, "", "a\n5.1.1 b"}}}},
      {"550 4.7.1 a\r\n", {{{550, "", "4.7.1 a"}}}},
      {"550 5.7.1234 a\r\n", {{{550, "", "5.7.1234 a"}}}},
      {"550 5.7. a\r\n", {{{550, "", "5.7. a"}}}},
      {"550 5.7.1a\r\n", {{{550, "", "5.7.1a"}}}},
      {"354 3.0.0 a\r\n", {{{354, "", "3.0.0 a"}}}},
      {"571 5.700.999 x\r\n", {{{571, "5.700.999", "x"}}}},
      {"599 x\r\n", {{{599, "", "x"}}}},
      {"250 a\0b\x1b\r\n"s, {{{250, "", "a\0b\x1b"s}}}},
      // Nonsense.
      {"\r\n", {{}, true}},
      {"\n", {{}, true}},
      {"000 x\r\n", {{}, true}},
      {"150 x\r\n", {{}, true}},
      {"199 x\r\n", {{}, true}},
      {"600 x\r\n", {{}, true}},
      {"999 x\r\n", {{}, true}},
      {"25 x\r\n", {{}, true}},
      {"2500 x\r\n", {{}, true}},
      {"250x\r\n", {{}, true}},
      {"250\tx\r\n", {{}, true}},
      {" 250 x\r\n", {{}, true}},
      {"+OK x\r\n", {{}, true}},
      {"HTTP/1.1 400 Bad Request\r\n", {{}, true}},
      {"250-a\r\n251 b\r\n", {{}, true}},
      {"250-a\r\n550 b\r\n", {{}, true}},
      {"250-a\r\nb\r\n", {{}, true}},
      {"250 a\r\nb\r\n250 c\r\n", {{{250, "", "a"}}, true}},
      // Bounds.
      {"250 " + long_line + "\n", {{{250, "", long_line}}}},
      {"250 " + long_line + "x\n", {{}, true}},
      {"250 " + long_line + "x", {{}, true}},
      {many + "250 \r\n", {{{250, "", std::string(limits::reply_lines - 1, '\n')}}}},
      {many + "250-\r\n250 \r\n", {{}, true}},
      {wide + "250 " + std::string(limits::reply_text_octets, 'x') + "\r\n", {{}, true}},
      {wide + "250 xxxxxxxxxxxxxxxxx\r\n", {{}, true}},
  };
  for (const Case& c : cases) {
    for (const auto& cuts : test::segmentations(c.bytes.size(), 4)) {
      const Parsed parsed = parse(c.bytes, cuts);
      EXPECT_EQ(parsed.replies, c.parsed.replies) << c.bytes.substr(0, 80);
      EXPECT_EQ(parsed.malformed, c.parsed.malformed) << c.bytes.substr(0, 80);
    }
  }
}

TEST(ReplyParser, StopsAfterEachReply) {
  ReplyParser parser;
  const std::string bytes = "250 a\r\n354 b\r\n";
  EXPECT_EQ(parser.feed(bytes), 7U);
  EXPECT_EQ(parser.status(), ReplyParser::Status::complete);
  EXPECT_EQ(parser.take(), (Reply{250, "", "a"}));
  EXPECT_EQ(parser.feed(std::string_view(bytes).substr(7)), 7U);
  EXPECT_EQ(parser.take(), (Reply{354, "", "b"}));
}

TEST(ReplyParser, StaysMalformed) {
  ReplyParser parser;
  parser.feed("nonsense\r\n");
  EXPECT_FALSE(parser.idle());
  EXPECT_EQ(parser.feed("250 ok\r\n"), 8U);
  EXPECT_EQ(parser.status(), ReplyParser::Status::malformed);
}

}  // namespace
}  // namespace portcullis::smtp
