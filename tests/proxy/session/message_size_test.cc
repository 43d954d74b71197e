// The upstream's SIZE (RFC 1870): what is announced to clients, and what is declared to the server.
#include "proxy/session/message_size.h"

#include <gtest/gtest.h>

namespace portcullis::session {
namespace {

smtp::Extensions offering(std::optional<std::uint64_t> size) {
  smtp::Extensions extensions;
  extensions.size = size;
  return extensions;
}

TEST(MessageSize, NoFixedLimit) {
  EXPECT_EQ(announced_size(5000, offering(std::nullopt)), 5000U);
  EXPECT_EQ(announced_size(5000, offering(0)), 5000U);
  EXPECT_EQ(forwarded_size(1000, offering(0)), 3048U);
}

TEST(MessageSize, TheSmallerLimitLessWhatWeAdd) {
  EXPECT_EQ(announced_size(5'000'000, offering(20'000)), 17'952U);
  EXPECT_EQ(announced_size(10'000, offering(20'000)), 10'000U);
}

// However small a limit is, it is one: 0 would say that there is none.
TEST(MessageSize, SmallLimits) {
  EXPECT_EQ(announced_size(5'000'000, offering(4096)), 2048U);
  EXPECT_EQ(announced_size(5'000'000, offering(2048)), 1024U);
  EXPECT_EQ(announced_size(5'000'000, offering(1)), 1U);
}

TEST(MessageSize, TheAllowanceAloneDoesNotExceedTheLimit) {
  EXPECT_EQ(forwarded_size(1000, offering(2048)), 2048U);
  EXPECT_EQ(forwarded_size(3000, offering(2048)), 3000U);  // the server may say so itself
  EXPECT_EQ(forwarded_size(1000, offering(20'000)), 3048U);
}

}  // namespace
}  // namespace portcullis::session
