#include "smtp/body.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "smtp/octet_scan.h"
#include "tests/smtp/segments.h"

namespace portcullis::smtp {

std::ostream& operator<<(std::ostream& out, BodyFault fault) { return out << static_cast<int>(fault); }

namespace {

using test::Cuts;
using test::every_cut;
using test::ExactBuffer;
using test::segmentations;
using std::string_literals::operator""s;

struct Read {
  std::string content;
  BodyFault fault = BodyFault::none;
  bool done = false;
  bool eight_bit = false;
  std::size_t consumed = 0;
  std::uint64_t content_octets = 0;
  bool operator==(const Read&) const = default;
};

void PrintTo(const Read& read, std::ostream* out) {
  *out << "{" << testing::PrintToString(read.content) << ", fault " << read.fault << ", done " << read.done
       << ", consumed " << read.consumed << "}";
}

std::string join(const Slices& slices) {
  std::string all;
  for (auto slice : slices) {
    EXPECT_FALSE(slice.empty());
    all += slice;
  }
  return all;
}

Read read_data(std::string_view bytes, BareLf bare_lf, const Cuts& cuts) {
  DataReader reader(bare_lf);
  Read read;
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    const ExactBuffer piece(bytes.substr(at, cut));
    Slices slices;
    const std::size_t consumed = reader.feed(piece.view(), slices);
    read.content += join(slices);
    read.consumed += consumed;
    at += cut;
    if (reader.done()) break;
    EXPECT_EQ(consumed, cut);
  }
  read.fault = reader.fault();
  read.done = reader.done();
  read.eight_bit = reader.saw_eight_bit();
  read.content_octets = reader.content_octets();
  EXPECT_EQ(read.content_octets, read.content.size());
  return read;
}

// The specification, written the slow and obvious way, for a whole message.
Read expected_read(std::string_view bytes, BareLf bare_lf) {
  Read read;
  const std::string framed = "\r\n" + std::string(bytes);
  const std::size_t end = framed.find("\r\n.\r\n");
  read.done = end != std::string::npos;
  read.consumed = read.done ? end + 3 : bytes.size();
  const std::string_view message = bytes.substr(0, read.done ? end : bytes.size());
  for (std::size_t i = 0; i < message.size() && read.fault == BodyFault::none; ++i) {
    const bool after_cr = i > 0 && message[i - 1] == '\r';
    if (after_cr && message[i] != '\n') {
      read.fault = BodyFault::bare_cr;
    } else if (message[i] == '\0') {
      read.fault = BodyFault::nul;
    } else if (message[i] == '\n' && !after_cr && bare_lf == BareLf::refuse) {
      read.fault = BodyFault::bare_lf;
    }
  }
  return read;
}

std::string expected_content(std::string_view message, BareLf bare_lf) {
  std::string content;
  bool after_crlf = true, after_lf = false;
  for (std::size_t i = 0; i < message.size();) {
    const std::string_view rest = message.substr(i);
    if (rest.front() == '.' && after_crlf && !(bare_lf == BareLf::normalize && rest.starts_with(".\n"))) {
      ++i;  // stuffed
      after_crlf = false;
      continue;
    }
    if (after_lf && rest.starts_with("..")) {
      ++i;
      after_lf = false;
      continue;
    }
    if (rest.starts_with("\r\n")) {
      content += "\r\n";
      i += 2;
      after_crlf = true;
      after_lf = false;
    } else if (rest.front() == '\n') {
      content += "\r\n";
      ++i;
      after_lf = true;
      after_crlf = false;
    } else {
      content += rest.front();
      ++i;
      after_lf = after_crlf = false;
    }
  }
  return content;
}

// Every message of up to seven octets from the alphabet that framing is about, octet by octet (and up
// to six under every cut into two), against the specification above.
class EveryShortMessage : public testing::TestWithParam<BareLf> {};

TEST_P(EveryShortMessage, IsReadAsSpecified) {
  constexpr std::string_view alphabet("\r\n.a\0", 5);
  for (std::size_t length = 1; length <= 7; ++length) {
    std::size_t count = 1;
    for (std::size_t i = 0; i < length; ++i) count *= alphabet.size();
    for (std::size_t number = 0; number < count; ++number) {
      std::string bytes;
      for (std::size_t i = 0, rest = number; i < length; ++i, rest /= alphabet.size()) {
        bytes += alphabet[rest % alphabet.size()];
      }
      const Read expected = expected_read(bytes, GetParam());
      auto ways = length < 7 ? every_cut(length) : std::vector<Cuts>{};
      ways.push_back(Cuts{length});
      ways.push_back(Cuts(length, 1));
      for (const auto& cuts : ways) {
        const Read got = read_data(bytes, GetParam(), cuts);
        ASSERT_EQ(got.fault, expected.fault) << testing::PrintToString(bytes);
        ASSERT_EQ(got.done, expected.done) << testing::PrintToString(bytes);
        ASSERT_EQ(got.consumed, expected.consumed) << testing::PrintToString(bytes);
        if (expected.done && expected.fault == BodyFault::none) {
          ASSERT_EQ(got.content, expected_content(bytes.substr(0, expected.consumed - 3), GetParam()))
              << testing::PrintToString(bytes);
        }
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(BothModes, EveryShortMessage, testing::Values(BareLf::refuse, BareLf::normalize));

struct EndCase {
  std::string name;
  std::string bytes;  // followed by "\r\n.\r\nQUIT\r\n"
  BodyFault refused;
  BodyFault normalized;
  std::string normalized_content;  // checked when not a fault
};

void PrintTo(const EndCase& end, std::ostream* out) { *out << end.name; }

class FalseEnd : public testing::TestWithParam<EndCase> {};

// The spellings of the end of data that SMTP smuggling tries. None may end the message.
TEST_P(FalseEnd, DoesNotEndTheMessage) {
  const auto& param = GetParam();
  const std::string bytes = param.bytes + "\r\n.\r\nQUIT\r\n";
  for (const BareLf mode : {BareLf::refuse, BareLf::normalize}) {
    auto ways = segmentations(bytes.size());
    for (auto& cuts : every_cut(bytes.size())) ways.push_back(cuts);
    for (const auto& cuts : ways) {
      const Read got = read_data(bytes, mode, cuts);
      EXPECT_TRUE(got.done);
      EXPECT_EQ(got.consumed, bytes.size() - 6);
      EXPECT_EQ(got.fault, mode == BareLf::refuse ? param.refused : param.normalized);
      if (got.fault == BodyFault::none) {
        EXPECT_EQ(got.content, param.normalized_content);
      }
    }
  }
}

constexpr auto lf = BodyFault::bare_lf;
constexpr auto cr = BodyFault::bare_cr;
constexpr auto ok = BodyFault::none;
INSTANTIATE_TEST_SUITE_P(
    Smuggling, FalseEnd,
    testing::Values(EndCase{"lf_dot_lf", "a\n.\nMAIL", lf, ok, "a\r\n.\r\nMAIL\r\n"},
                    EndCase{"lf_dot_crlf", "a\n.\r\nMAIL", lf, ok, "a\r\n.\r\nMAIL\r\n"},
                    EndCase{"crlf_dot_lf", "a\r\n.\nMAIL", lf, ok, "a\r\n.\r\nMAIL\r\n"},
                    EndCase{"cr_dot_cr", "a\r.\rMAIL", cr, cr, ""},
                    EndCase{"cr_dot_crlf", "a\r.\r\nMAIL", cr, cr, ""},
                    EndCase{"crlf_dot_cr", "a\r\n.\rMAIL", cr, cr, ""},
                    EndCase{"lf_dot_cr", "a\n.\rMAIL", lf, cr, ""},
                    EndCase{"cr_dot_lf", "a\r.\nMAIL", cr, cr, ""},
                    EndCase{"crcrlf_dot_crcrlf", "a\r\r\n.\r\r\nMAIL", cr, cr, ""},
                    EndCase{"crlf_dot_crcrlf", "a\r\n.\r\r\nMAIL", cr, cr, ""},
                    EndCase{"crlf_nul_dot_crlf", "a\r\n\0.\r\nMAIL"s, BodyFault::nul, BodyFault::nul, ""},
                    EndCase{"crlf_dot_nul_crlf", "a\r\n.\0\r\nMAIL"s, BodyFault::nul, BodyFault::nul, ""},
                    EndCase{"cr_nul_lf_dot", "a\r\0\n.\r\nMAIL"s, cr, cr, ""},
                    EndCase{"first_line_dot_lf", ".\nMAIL", lf, ok, ".\r\nMAIL\r\n"},
                    EndCase{"first_line_dot_cr", ".\rMAIL", cr, cr, ""},
                    EndCase{"lf_stuffed_dot", "a\n..\nb", lf, ok, "a\r\n.\r\nb\r\n"},
                    EndCase{"lf_unstuffed_dot", "a\n.b\nc", lf, ok, "a\r\n.b\r\nc\r\n"},
                    EndCase{"stuffed_dot", "a\r\n..\r\nb", ok, ok, "a\r\n.\r\nb\r\n"},
                    EndCase{"dot_space", "a\r\n. \r\nb", ok, ok, "a\r\n \r\nb\r\n"},
                    EndCase{"empty_lines", "\r\n\r\n\r\n", ok, ok, "\r\n\r\n\r\n\r\n"},
                    EndCase{"eight_bit_nel", "a\xc2\x85.\xc2\x85", ok, ok, "a\xc2\x85.\xc2\x85\r\n"}),
    [](const auto& test) { return test.param.name; });

TEST(DataReader, AMessageMayBeEmpty) {
  const Read got = read_data(".\r\nQUIT\r\n", BareLf::refuse, {9});
  EXPECT_TRUE(got.done);
  EXPECT_EQ(got.content, "");
  EXPECT_EQ(got.consumed, 3u);
}

TEST(DataReader, YieldsNothingAfterAFault) {
  DataReader reader(BareLf::refuse);
  Slices slices;
  reader.feed("good\r\nbad\nworse\r\n", slices);
  EXPECT_EQ(join(slices), "good\r\nbad");
  slices.clear();
  reader.feed("more\r\n", slices);
  EXPECT_TRUE(slices.empty());
  EXPECT_FALSE(reader.done());
  reader.feed(".\r\n", slices);
  EXPECT_TRUE(reader.done());
  EXPECT_EQ(reader.fault(), BodyFault::bare_lf);
}

TEST(DataReader, OrdinaryTextIsOneSlice) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes += "A line of ordinary text, with a dot. And more.\r\n";
  DataReader reader(BareLf::refuse);
  Slices slices;
  reader.feed(bytes, slices);
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(slices[0].data(), bytes.data());
  EXPECT_EQ(slices[0].size(), bytes.size());
}

TEST(DataReader, SeesEightBitOctetsOfTheContentOnly) {
  for (std::size_t before = 0; before < 130; ++before) {
    const std::string plain(before, 'a');
    EXPECT_FALSE(read_data(plain + "\r\n.\r\n\xff", BareLf::refuse, {before + 6}).eight_bit) << before;
    EXPECT_TRUE(read_data(plain + "\x80\r\n.\r\n", BareLf::refuse, {before + 6}).eight_bit) << before;
  }
}

// Odd octets at every place of the 64-octet blocks, with text around them.
TEST(DataReader, FindsWhatMattersAtEveryPlace) {
  for (std::size_t before = 0; before < 140; ++before) {
    const std::string plain(before, 'a');
    for (const auto& odd : {"\n"s, "\r"s, "\0"s, "\r\n.x"s, "\r\n..x"s, "\r\n"s, "\x80"s, "\r\n.\r\n"s}) {
      const std::string bytes = plain + odd + std::string(70, 'b') + "\r\n.\r\n";
      for (const BareLf mode : {BareLf::refuse, BareLf::normalize}) {
        const Read expected = expected_read(bytes, mode);
        const Read whole = read_data(bytes, mode, {bytes.size()});
        EXPECT_EQ(whole.fault, expected.fault);
        EXPECT_EQ(whole.consumed, expected.consumed);
        if (whole.fault == BodyFault::none) {
          EXPECT_EQ(whole.content, expected_content(bytes.substr(0, expected.consumed - 3), mode));
        }
        EXPECT_EQ(whole, read_data(bytes, mode, Cuts(bytes.size(), 1)));
      }
    }
  }
}

// Lines that begin with dots, close together: whole blocks of them are read at once, and nothing may depend
// on where the blocks begin or on what is between.
TEST(DataReader, ManyLinesWithDots) {
  std::mt19937 random(7);
  constexpr std::array<std::string_view, 14> pieces = {"..\r\n",   "..\r\n", "..\r\n", ".x\r\n", "...\r\n",
                                                       "..a.\r\n", "\r\n",   "ab\r\n", ".\n",    "\n..",
                                                       "\x80",     ".\r",    "\n",     "\r"};
  for (int round = 0; round < 6000; ++round) {
    // Most rounds without what is a fault, so that the blocks get long.
    const std::size_t kinds = round % 3 == 0 ? pieces.size() : round % 3 == 1 ? 11 : 8;
    std::string bytes(random() % 3, 'a');
    if (!bytes.empty()) bytes += "\r\n";
    for (unsigned i = 0; i < 20 + random() % 80; ++i) bytes += pieces[random() % kinds];
    bytes += "\r\n.\r\nNOOP\r\n";
    for (const BareLf mode : {BareLf::refuse, BareLf::normalize}) {
      const Read expected = expected_read(bytes, mode);
      const Read whole = read_data(bytes, mode, {bytes.size()});
      ASSERT_EQ(whole.fault, expected.fault) << testing::PrintToString(bytes);
      ASSERT_EQ(whole.consumed, expected.consumed) << testing::PrintToString(bytes);
      if (whole.fault == BodyFault::none) {
        ASSERT_EQ(whole.content, expected_content(bytes.substr(0, expected.consumed - 3), mode));
      }
      ASSERT_EQ(whole.content, read_data(bytes, mode, Cuts(bytes.size(), 1)).content);
      const std::size_t cut = random() % bytes.size();
      const Read two = read_data(bytes, mode, {cut, bytes.size() - cut});
      ASSERT_EQ(two.content, whole.content);
      ASSERT_EQ(two.consumed, whole.consumed);
      ASSERT_EQ(two.fault, whole.fault);
    }
  }
}

// After a fault only the end matters; it is found wherever it is, and nothing else is taken for it.
TEST(DataReader, FindsTheEndOfARefusedMessage) {
  std::mt19937 random(11);
  constexpr std::array<std::string_view, 10> pieces = {"\r",      "\n",      ".",   "\r\n", "\r\n.",
                                                       "\n.\r\n", "\r.\r\n", "abc", "\0",   "\r\n.\r"};
  for (int round = 0; round < 6000; ++round) {
    std::string bytes = "a\nb";
    for (unsigned i = 0; i < random() % 120; ++i) bytes += pieces[random() % pieces.size()];
    bytes += "\r\n.\r\nQUIT\r\n";
    const Read expected = expected_read(bytes, BareLf::refuse);
    for (const Cuts& cuts : {Cuts{bytes.size()}, Cuts(bytes.size(), 1), Cuts{4, bytes.size() - 4}}) {
      const Read got = read_data(bytes, BareLf::refuse, cuts);
      ASSERT_TRUE(got.done);
      ASSERT_EQ(got.consumed, expected.consumed) << testing::PrintToString(bytes);
    }
  }
}

// --- ContentScanner -----------------------------------------------------------------------------------

Read scan(std::string_view bytes, BareLf bare_lf, const Cuts& cuts) {
  ContentScanner scanner(bare_lf);
  Read read;
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    const ExactBuffer piece(bytes.substr(at, cut));
    Slices slices;
    scanner.feed(piece.view(), slices);
    read.content += join(slices);
    at += cut;
  }
  scanner.finish();
  read.fault = scanner.fault();
  read.eight_bit = scanner.saw_eight_bit();
  read.done = scanner.ends_with_crlf();
  return read;
}

struct ScanCase {
  std::string bytes;
  BareLf mode;
  BodyFault fault;
  std::string content;  // what comes out, also before a fault
  bool ends_with_crlf;
};

TEST(ContentScanner, UnderEveryCut) {
  const ScanCase cases[] = {
      {"", BareLf::refuse, ok, "", true},
      {"a\r\n", BareLf::refuse, ok, "a\r\n", true},
      {"a", BareLf::refuse, ok, "a", false},
      {".\r\n..\r\n.", BareLf::refuse, ok, ".\r\n..\r\n.", false},
      {"a\r\n.\r\nb\r\n", BareLf::refuse, ok, "a\r\n.\r\nb\r\n", true},
      {"a\nb", BareLf::refuse, lf, "a", false},
      {"a\nb", BareLf::normalize, ok, "a\r\nb", false},
      {"a\n\n.\n", BareLf::normalize, ok, "a\r\n\r\n.\r\n", true},
      {"a\r\n\nb\n\r\n", BareLf::normalize, ok, "a\r\n\r\nb\r\n\r\n", true},
      {"a\rb", BareLf::refuse, cr, "a", false},
      {"a\rb", BareLf::normalize, cr, "a", false},
      {"a\r\r\n", BareLf::normalize, cr, "a", false},
      {"a\r", BareLf::refuse, cr, "a", false},
      {"\r", BareLf::normalize, cr, "", false},
      {"a\0b"s, BareLf::normalize, BodyFault::nul, "a", false},
      {"a\r\0\n"s, BareLf::refuse, cr, "a", false},
  };
  for (const auto& test : cases) {
    for (const auto& cuts : segmentations(test.bytes.size())) {
      const Read got = scan(test.bytes, test.mode, cuts);
      EXPECT_EQ(got.fault, test.fault) << testing::PrintToString(test.bytes);
      EXPECT_EQ(got.content, test.content) << testing::PrintToString(test.bytes);
      if (test.fault == ok) {
        EXPECT_EQ(got.done, test.ends_with_crlf) << testing::PrintToString(test.bytes);
      }
    }
  }
}

// --- DataWriter -----------------------------------------------------------------------------------------

std::string write_data(std::string_view content, const Cuts& cuts) {
  DataWriter writer;
  std::string framed;
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    const ExactBuffer piece(content.substr(at, cut));
    Slices slices;
    writer.feed(piece.view(), slices);
    framed += join(slices);
    at += cut;
  }
  return framed + std::string(writer.finish());
}

TEST(DataWriter, StuffsAndCloses) {
  const std::pair<std::string, std::string> cases[] = {
      {"", ".\r\n"},
      {"a\r\n", "a\r\n.\r\n"},
      {"a", "a\r\n.\r\n"},
      {".", "..\r\n.\r\n"},
      {".\r\n", "..\r\n.\r\n"},
      {"..\r\n.a\r\n.\r\n", "...\r\n..a\r\n..\r\n.\r\n"},
      {"a.\r\n\r\n.b", "a.\r\n\r\n..b\r\n.\r\n"},
      {std::string(63, 'a') + "\r\n.b", std::string(63, 'a') + "\r\n..b\r\n.\r\n"},
      {std::string(62, 'a') + "\r\n.b", std::string(62, 'a') + "\r\n..b\r\n.\r\n"},
  };
  for (const auto& [content, framed] : cases) {
    for (const auto& cuts : segmentations(content.size())) EXPECT_EQ(write_data(content, cuts), framed);
  }
}

// Whatever a reader lets through, the writer's framing carries to a strict reader unharmed.
TEST(DataWriter, RoundTripsThroughTheReader) {
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string content;
    for (std::size_t i = random() % 200; i > 0; --i) {
      constexpr std::string_view pieces[] = {"\r\n", ".",     "a",        "text of some length",
                                             "\xe4", "\r\n.", "\r\n.\r\n"};
      content += pieces[random() % std::size(pieces)];
    }
    const auto ways = segmentations(content.size(), 2);
    const std::string framed = write_data(content, ways[random() % ways.size()]);
    const auto read_ways = segmentations(framed.size(), 2);
    const Read read = read_data(framed, BareLf::refuse, read_ways[random() % read_ways.size()]);
    EXPECT_TRUE(read.done);
    EXPECT_EQ(read.fault, ok);
    EXPECT_EQ(read.consumed, framed.size());
    if (!content.empty() && !content.ends_with("\r\n")) content += "\r\n";
    ASSERT_EQ(read.content, content);
  }
}

// What a DataReader gives needs no search for dots: under any cut the same as with one.
TEST(DataWriter, ViewsOfAReaderAreCutAtDots) {
  std::mt19937 random(5);
  for (int round = 0; round < 3000; ++round) {
    std::string wire;
    constexpr std::array<std::string_view, 7> pieces = {"\r\n", "\r\n..", "\n", "\n.", ".", "abc", "\r\n.x"};
    for (unsigned i = 0; i < 40; ++i) wire += pieces[random() % pieces.size()];
    wire += "\r\n.\r\n";
    DataReader reader(BareLf::normalize);
    DataWriter searching, trusting;
    std::string searched, trusted;
    for (std::size_t at = 0; at < wire.size() && !reader.done();) {
      const std::size_t size = std::min<std::size_t>(wire.size() - at, 1 + random() % 23);
      const std::vector<char> exact(wire.begin() + static_cast<std::ptrdiff_t>(at),
                                    wire.begin() + static_cast<std::ptrdiff_t>(at + size));
      Slices content, framed;
      at += reader.feed({exact.data(), exact.size()}, content);
      for (const std::string_view view : content) searching.feed(view, framed);
      for (const std::string_view view : framed) searched += view;
      framed.clear();
      for (const std::string_view view : content) trusting.feed_cut_at_dots(view, framed);
      for (const std::string_view view : framed) trusted += view;
    }
    ASSERT_EQ(trusted, searched);
    ASSERT_EQ(trusting.finish(), searching.finish());
  }
}

// --- the inner loop -------------------------------------------------------------------------------------

TEST(OctetScan, BothImplementationsAgree) {
  std::mt19937 random(11);
  for (int round = 0; round < 5000; ++round) {
    char block[scan_block_octets];
    for (char& octet : block) {
      constexpr std::string_view octets("\r\n.\0a\x80\xff\x0e\x7f\x09", 10);
      octet = octets[random() % octets.size()];
    }
    const OctetMasks plain = octet_masks_portable(block);
    const OctetBlock fast(block);
    EXPECT_EQ(fast.equal_to('\r'), plain.cr);
    EXPECT_EQ(fast.equal_to('\n'), plain.lf);
    EXPECT_EQ(fast.equal_to('.'), plain.dot);
    EXPECT_EQ(fast.equal_to('\0'), plain.nul);
    EXPECT_EQ(fast.high(), plain.high);
    EXPECT_EQ(fast.any_nul(), plain.nul != 0);
    EXPECT_EQ(fast.any_high(), plain.high != 0);
    const PortableOctetBlock portable(block);
    std::ranges::fill(block, '-');  // a block is read when it is made
    for (const char octet : std::string_view("\r\n.\0a-", 6)) {
      EXPECT_EQ(portable.equal_to(octet), fast.equal_to(octet)) << static_cast<int>(octet);
    }
    EXPECT_EQ(portable.high(), fast.high());
    EXPECT_EQ(portable.any_nul(), fast.any_nul());
    EXPECT_EQ(portable.any_high(), fast.any_high());
  }
}

// The bulk by AVX2, where there is one, and the rest without: the same answers as without it.
TEST(OctetScan, WideBlocksChangeNothing) {
  std::mt19937 random(12);
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    constexpr std::array<std::string_view, 4> pieces = {"\r\n", "a line of text", "x", "\xc3\xa9"};
    while (text.size() < 300) text += pieces[random() % pieces.size()];
    constexpr std::string_view odd("\r\n.\0", 4);
    if (round % 3 != 0) text[random() % text.size()] = odd[random() % odd.size()];
    const std::vector<char> exact(text.begin(), text.end());
    const LinePosition before{random() % 2 == 0, random() % 2 == 0};
    const auto answers = [&](bool wide) {
      LinePosition position = before;
      bool eight_bit = false;
      const std::size_t with_dots = plain_run<true>(exact.data(), exact.size(), position, eight_bit, wide);
      const auto first = std::tuple(with_dots, position.after_cr, position.line_start, eight_bit);
      position = before;
      const std::size_t without = plain_run<false>(exact.data(), exact.size(), position, eight_bit, wide);
      return std::tuple(first, without, position.after_cr, position.line_start, eight_bit);
    };
    ASSERT_EQ(answers(wide_blocks), answers(false));
    const std::string_view view(exact.data(), exact.size());
    for (std::size_t from = 0; from < 70; from += 1 + random() % 7) {
      bool line_start = before.line_start;
      bool line_start_narrow = line_start;
      const std::size_t found = find_at_line_start<'.'>(view.substr(from), line_start, wide_blocks);
      ASSERT_EQ(found, find_at_line_start<'.'>(view.substr(from), line_start_narrow, false));
      if (found == std::string_view::npos) {
        ASSERT_EQ(line_start, line_start_narrow);
      }
    }
  }
}

}  // namespace
}  // namespace portcullis::smtp
