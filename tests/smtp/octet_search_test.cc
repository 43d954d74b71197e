#include "smtp/octet_search.h"

#include <gtest/gtest.h>

#include <string>

#include "smtp/ascii.h"
#include "tests/smtp/segments.h"

namespace portcullis::smtp {
namespace {

using test::ExactBuffer;

bool matches_by_hand(OneOf<'\0', '\r', '\n'>, char c) { return c == '\0' || c == '\r' || c == '\n'; }
bool matches_by_hand(Control, char c) { return is_control(c); }
bool matches_by_hand(NotPrintable, char c) { return !(c >= ' ' && c <= '~'); }
bool matches_by_hand(NotVisible, char c) { return !(c > ' ' && c <= '~'); }
bool matches_by_hand(AnyOf<NotVisible, OneOf<':'>>, char c) {
  return matches_by_hand(NotVisible{}, c) || c == ':';
}

template <typename What>
class FindOctet : public testing::Test {};
using All =
    testing::Types<OneOf<'\0', '\r', '\n'>, Control, NotPrintable, NotVisible, AnyOf<NotVisible, OneOf<':'>>>;
TYPED_TEST_SUITE(FindOctet, All);

// In text of every length around one and two lanes, at every place in it.
TYPED_TEST(FindOctet, EveryOctetAtEveryPlace) {
  for (int octet = 0; octet < 256; ++octet) {
    const char c = static_cast<char>(octet);
    const bool matches = matches_by_hand(TypeParam{}, c);
    EXPECT_EQ(TypeParam::matches(c), matches) << octet;
    for (const std::size_t size : {1U, 15U, 16U, 17U, 31U, 32U, 33U, 50U}) {
      for (std::size_t at = 0; at < size; ++at) {
        std::string text(size, 'x');
        text[at] = c;
        const ExactBuffer exact(text);
        ASSERT_EQ(find_octet<TypeParam>(exact.view()), matches ? at : size) << octet << ' ' << size;
        ASSERT_EQ(find_octet_portable<TypeParam>(exact.view()), matches ? at : size) << octet << ' ' << size;
      }
    }
  }
}

TEST(FindOctetFrom, BeginsThere) {
  using LineFeed = OneOf<'\n'>;
  for (std::size_t size = 0; size < 40; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      std::string text(size, 'x');
      text[at] = text[size - 1] = '\n';
      const ExactBuffer exact(text);
      for (std::size_t from = 0; from <= size; ++from) {
        const std::size_t expected = from <= at ? at : from < size ? size - 1 : size;
        ASSERT_EQ(find_octet<LineFeed>(exact.view(), from), expected) << size << ' ' << at << ' ' << from;
      }
    }
    EXPECT_EQ(find_octet<LineFeed>(ExactBuffer(std::string(size, 'x')).view(), size + 1), size + 1);
  }
}

}  // namespace
}  // namespace portcullis::smtp
