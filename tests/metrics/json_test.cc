#include "metrics/json.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <string>
#include <string_view>

#include "metrics/plain_octets.h"

namespace portcullis::metrics {
namespace {

// In a heap buffer of its exact size: ASan sees one octet too far.
class ExactCopy {
 public:
  explicit ExactCopy(std::string_view text) : octets_(new char[text.size()]), size_(text.size()) {
    text.copy(octets_.get(), size_);
  }
  std::string_view view() const { return {octets_.get(), size_}; }

 private:
  std::unique_ptr<char[]> octets_;
  std::size_t size_;
};

using CopyPlain = std::size_t (*)(char*, std::string_view);
constexpr CopyPlain ways[] = {copy_plain, copy_plain_portable};

// What of `text` is copied; checked to be its front.
std::size_t plain_front(CopyPlain copy, std::string_view text) {
  const ExactCopy from(text);
  const std::unique_ptr<char[]> to(new char[text.size() + plain_block_octets]);
  const std::size_t copied = copy(to.get(), from.view());
  EXPECT_LE(copied, text.size());
  EXPECT_EQ(std::string_view(to.get(), copied), text.substr(0, copied));
  return copied;
}

// More than four blocks, every kind of end.
constexpr std::size_t lengths_max = 70;

std::string some_text(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + i % 26);
  return text;
}

TEST(PlainOctets, AreCopiedWhole) {
  for (const CopyPlain copy : ways) {
    for (std::size_t size = 0; size <= lengths_max; ++size) {
      EXPECT_EQ(plain_front(copy, some_text(size)), size);
    }
  }
}

TEST(PlainOctets, EndAtTheFirstOddOne) {
  using namespace std::string_view_literals;
  for (const CopyPlain copy : ways) {
    for (std::size_t size = 1; size <= lengths_max; ++size) {
      for (std::size_t at = 0; at < size; ++at) {
        for (const char odd : "\0\x1f\"\\\x7f\x80\xff"sv) {
          std::string text = some_text(size);
          text[at] = odd;
          EXPECT_EQ(plain_front(copy, text), at) << size << " octets";
          text.back() = odd;  // a later one changes nothing
          EXPECT_EQ(plain_front(copy, text), at) << size << " octets";
        }
      }
    }
  }
}

TEST(PlainOctets, EveryOctetInEveryPlaceOfABlock) {
  for (const CopyPlain copy : ways) {
    for (unsigned octet = 0; octet < 256; ++octet) {
      const bool plain = octet >= 0x20 && octet < 0x7f && octet != '"' && octet != '\\';
      for (std::size_t at = 0; at < plain_block_octets * 2 - 1; ++at) {
        std::string text = some_text(plain_block_octets * 2 - 1);
        text[at] = static_cast<char>(octet);
        EXPECT_EQ(plain_front(copy, text), plain ? text.size() : at) << octet;
      }
    }
  }
}

std::string escaped(std::string_view value, std::size_t octets_max = 1000) {
  const ExactCopy copy(value);
  TextBuffer out;
  append_json_string(out, copy.view(), octets_max);
  return std::string(out.view());
}

TEST(JsonString, ShowsNothingDangerous) {
  using namespace std::string_view_literals;
  struct Case {
    std::string_view value, json;
  };
  const Case cases[] = {
      {"", R"("")"},
      {"plain", R"("plain")"},
      {"a\"b\\c/d", R"("a\"b\\c/d")"},
      {"\r\n\t", R"("\r\n\t")"},
      {"\0\x01\x1b[31m\x7f"sv, R"("\u0000\u0001\u001b[31m\u007f")"},
      {"J\xc3\xbcrgen \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x93\xa7",
       "\"J\xc3\xbcrgen \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x93\xa7\""},
      {"\xc2\x85\xc2\x9b", R"("\u0085\u009b")"},                            // C1: NEL, CSI
      {"\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8f", R"("\u202e\u2066\u200f")"},  // bidi
      {"\xe2\x80\xa8\xe2\x80\xa9", R"("\u2028\u2029")"},                    // line separators
      {"\xe2\x80\x8b\xef\xbb\xbf\xe2\x81\xa0", R"("\u200b\ufeff\u2060")"},  // zero width
      {"\xf3\xa0\x80\x81", R"("\udb40\udc01")"},                            // tag
      {"\u034f\u17b4\u17b5\u180f",
       R"("\u034f\u17b4\u17b5\u180f")"},                          // joiner, vowels nobody writes, selector
      {"\U00013430\U00013455", R"("\ud80d\udc30\ud80d\udc55")"},  // controls of hieroglyphs
      {"\x80|\xff|\xc3", "\"\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd\""},  // no lead, never, cut short
      {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                      // overlong '/'
      {"\xe0\x80\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},      // overlong
      {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},      // surrogate
      {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},  // beyond U+10FFFF
      {"\xf0\x9f\x93\"", "\"\xef\xbf\xbd\\\"\""},  // a lead does not eat a quote
      {"\xe2\x82\n", "\"\xef\xbf\xbd\\n\""},
  };
  for (const auto& [value, json] : cases) EXPECT_EQ(escaped(value), json);
}

TEST(JsonString, CutsBetweenCharacters) {
  EXPECT_EQ(escaped("abcdef", 3), "\"abc\xe2\x80\xa6\"");
  EXPECT_EQ(escaped("abcdef", 6), "\"abcdef\"");
  EXPECT_EQ(escaped("ab\xe6\x97\xa5", 4), "\"ab\xe2\x80\xa6\"");
  EXPECT_EQ(escaped("ab\xe6\x97\xa5", 3), "\"ab\xe2\x80\xa6\"");
  EXPECT_EQ(escaped("ab\xe6\x97\xa5", 2), "\"ab\xe2\x80\xa6\"");
  EXPECT_EQ(escaped("\x80\x80\x80\x80\x80\x80", 4), "\"\xef\xbf\xbd\xe2\x80\xa6\"");
}

// A character that is not plain in every place: what is before and behind it goes on as it is.
TEST(JsonString, GoesOnBehindWhatItEscaped) {
  struct Case {
    std::string_view character, json;
  };
  const Case cases[] = {
      {"\"", "\\\""},
      {"\x1b", "\\u001b"},
      {"\xc3\xbc", "\xc3\xbc"},
      {"\xe2\x80\xae", "\\u202e"},
      {"\xf3\xa0\x80\x81", "\\udb40\\udc01"},
      {"\xff", "\xef\xbf\xbd"},
  };
  for (const auto& [character, json] : cases) {
    for (std::size_t before = 0; before <= lengths_max; ++before) {
      for (const std::size_t behind : {0U, 1U, 15U, 16U, 17U}) {
        const std::string front = some_text(before), back = some_text(behind);
        EXPECT_EQ(escaped(front + std::string(character) + back),
                  '"' + front + std::string(json) + back + '"');
      }
    }
  }
}

// Room is made for what a value becomes, wherever the buffer is full at that moment.
TEST(JsonString, GrowsItsBuffer) {
  for (const std::string_view character : {"a", "\x01", "\xf3\xa0\x80\x81"}) {
    std::string value;
    while (value.size() + character.size() <= 1000) value += character;
    const std::string json = escaped(value);
    TextBuffer out;
    std::string expected;
    for (std::size_t i = 0; i < 50; ++i) {
      const std::string front = some_text(i);
      out.append(front);
      append_json_string(out, value, value.size());
      expected += front + json;
    }
    EXPECT_EQ(out.view(), expected);
  }
}

template <typename Write>
std::string object(Write write) {
  TextBuffer out;
  JsonObject json(out);
  write(json, out);
  json.close();
  return std::string(out.view());
}

TEST(JsonObject, SetsCommasBetweenItsMembers) {
  EXPECT_EQ(object([](JsonObject&, TextBuffer&) {}), "{}");
  EXPECT_EQ(object([](JsonObject& json, TextBuffer&) { json.text<"left_out">(""); }), "{}");
  EXPECT_EQ(object([](JsonObject& json, TextBuffer&) { json.text_or_empty<"kept">(""); }), R"({"kept":""})");
  EXPECT_EQ(object([](JsonObject& json, TextBuffer&) {
              json.text<"a">("1");
              json.number<"b">(2);
              json.seconds<"c">(3.5);
              json.pair("d\"", "4\n");
            }),
            R"({"a":"1","b":2,"c":3.500000,"d\"":"4\n"})");
  EXPECT_EQ(object([](JsonObject& json, TextBuffer& out) {
              json.key<"inner">();
              JsonObject inner(out);
              inner.close();
              json.number<"after">(1);
            }),
            R"({"inner":{},"after":1})");
}

TEST(JsonObject, CutsLongValues) {
  const std::string most(JsonObject::value_octets_max, 'x');
  EXPECT_EQ(object([&](JsonObject& json, TextBuffer&) { json.text<"a">(most); }), R"({"a":")" + most + "\"}");
  EXPECT_EQ(object([&](JsonObject& json, TextBuffer&) { json.text<"a">(most + 'y'); }),
            R"({"a":")" + most + "\xe2\x80\xa6\"}");
}

TEST(JsonObject, SetsABlankBetweenTwoTexts) {
  const std::string some(JsonObject::value_octets_max - 6, 'x');
  struct Case {
    std::string front, text, json;
  };
  const Case cases[] = {
      {"", "", "{}"},
      {"", "text", R"({"a":"text"})"},
      {"5.7.1", "", R"({"a":"5.7.1 "})"},
      {"5.7.1", "text", R"({"a":"5.7.1 text"})"},
      {"5.7\"1", "text", R"({"a":"5.7\"1 text"})"},
      {"5.7.1\n", "text", R"({"a":"5.7.1\n text"})"},
      {"5.7.1", "te\x1bxt", R"({"a":"5.7.1 te\u001bxt"})"},
      {"5.7.1", some, R"({"a":"5.7.1 )" + some + "\"}"},
      {"5.7.1", some + 'y', R"({"a":"5.7.1 )" + some + "\xe2\x80\xa6\"}"},
  };
  for (const auto& [front, text, json] : cases) {
    EXPECT_EQ(object([&](JsonObject& o, TextBuffer&) { o.text<"a">(front, text); }), json);
  }
}

// A buffer that is filled up to each octet before its end: what comes next finds room.
TEST(JsonObject, FindsRoomAnywhere) {
  const auto members = [](JsonObject& json, TextBuffer&) {
    json.text<"a_key_of_the_greatest_size">("a value");
    json.text<"b">("2.0.0", "Ok");
    json.number<"c">(std::numeric_limits<std::uint64_t>::max());
    json.seconds<"d">(JsonObject::seconds_max);
    json.pair("e", "\x01");
  };
  const std::string expected = object(members);
  for (std::size_t before = 0; before < 600; ++before) {
    TextBuffer out;
    out.append(std::string(before, 'x'));
    JsonObject json(out);
    members(json, out);
    json.close();
    EXPECT_EQ(out.view().substr(before), expected);
  }
}

TEST(JsonObject, Numbers) {
  struct Case {
    std::uint64_t value;
    std::string_view json;
  };
  const Case cases[] = {
      {0, "0"},       {9, "9"},         {10, "10"},
      {99, "99"},     {100, "100"},     {999, "999"},
      {1000, "1000"}, {65535, "65535"}, {std::numeric_limits<std::uint64_t>::max(), "18446744073709551615"}};
  for (const auto& [value, json] : cases) {
    EXPECT_EQ(object([&](JsonObject& o, TextBuffer&) { o.number<"n">(value); }),
              R"({"n":)" + std::string(json) + '}');
  }
}

TEST(JsonObject, Seconds) {
  struct Case {
    double value;
    std::string_view json;  // empty: left out
  };
  const double infinity = std::numeric_limits<double>::infinity();
  const Case cases[] = {{0, "0.000000"},
                        {-0.0, "0.000000"},
                        {0.0000004, "0.000000"},
                        {0.0000005, "0.000001"},
                        {0.001, "0.001000"},
                        {0.999999, "0.999999"},
                        {0.9999996, "1.000000"},
                        {61.02, "61.020000"},
                        {1e9, "1000000000.000000"},
                        {1e9 + 1, ""},
                        {-1e-9, ""},
                        {infinity, ""},
                        {-infinity, ""},
                        {std::numeric_limits<double>::quiet_NaN(), ""}};
  for (const auto& [value, json] : cases) {
    EXPECT_EQ(object([&](JsonObject& o, TextBuffer&) { o.seconds<"s">(value); }),
              json.empty() ? "{}" : R"({"s":)" + std::string(json) + '}');
  }
}

}  // namespace
}  // namespace portcullis::metrics
