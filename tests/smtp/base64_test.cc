#include "smtp/base64.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tests/smtp/segments.h"

namespace portcullis::smtp {
namespace {

using std::string_literals::operator""s;
using test::ExactBuffer;

TEST(Base64, VectorsOfRfc4648) {
  const std::pair<std::string, std::string> vectors[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
      {"\0\0"s, "AAA="},
      {"\xff\xfe\xfd", "//79"},
  };
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(encode_base64(ExactBuffer(plain).view()), encoded);
    EXPECT_EQ(decode_base64(ExactBuffer(encoded).view()), plain);
  }
}

TEST(Base64, RoundTrips) {
  for (std::size_t size = 0; size < 200; ++size) {
    std::mt19937 random(static_cast<unsigned>(size));
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(random());
    EXPECT_EQ(decode_base64(ExactBuffer(encode_base64(bytes)).view()), bytes);
  }
}

TEST(Base64, RefusesAllOtherSpellings) {
  const std::string bad[] = {"=",     "==",   "===",     "====",     "A",        "AA",     "AAA",
                             "AAAAA", "AA=",  "A===",    "AA=A",     "=AAA",     "A=AA",   "Zg==Zg==",
                             "Zh==",  "Zm9=", "Zm 9",    " Zm9v",    "Zm9v ",    "Zm9v\n", "Zm9\0"s,
                             "Zm9-",  "Zm9_", "Zm9\xc3", "Zg==\r\n", "Zm8=AAAA", "Z!=="};
  for (const std::string& text : bad)
    EXPECT_FALSE(decode_base64(ExactBuffer(text).view()).has_value()) << text;
}

}  // namespace
}  // namespace portcullis::smtp
