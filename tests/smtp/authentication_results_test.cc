#include "smtp/authentication_results.h"

#include <gtest/gtest.h>

#include <string>

#include "smtp/ascii.h"

namespace portcullis::smtp {
namespace {

TEST(AuthenticationResults, IdOfABody) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {" mx.example.com; spf=pass", "mx.example.com"},
      {"mx.example.com;none", "mx.example.com"},
      {" mx.example.com 1; spf=pass", "mx.example.com"},
      {"\r\n\tmx.example.com;\r\n dkim=pass", "mx.example.com"},
      {" (a (nested) \\) comment) mx.example.com; spf=pass", "mx.example.com"},
      {" mx.example.com(comment) 1; spf=pass", "mx.example.com"},
      {" \"mx.example.com\"; spf=pass", "mx.example.com"},
      {" \"mx\\.example.com\"; spf=pass", "mx.example.com"},
      {" i=1; mx.example.com; spf=pass", "i"},
      {" ; spf=pass", ""},
      {"", ""},
      {" (no end", ""},
      {" \"no end", "no end"},
  };
  for (const auto& [body, id] : cases) EXPECT_EQ(authserv_id(body), id) << body;
}

std::string without(std::string_view block, std::size_t removed) {
  std::string out = "Received: kept\r\n";
  EXPECT_EQ(append_without_results(
                out, block, [](std::string_view id) { return equals_ignoring_case(id, "mx.example.com"); }),
            removed)
      << block;
  EXPECT_TRUE(out.starts_with("Received: kept\r\n"));
  return out.substr(16);
}

TEST(AuthenticationResults, OnlyOursAreLeftOut) {
  EXPECT_EQ(without("From: a@b\r\n\r\n", 0), "From: a@b\r\n\r\n");
  EXPECT_EQ(without("", 0), "");
  EXPECT_EQ(without("Authentication-Results: mx.example.com; spf=pass\r\nFrom: a@b\r\n\r\n", 1),
            "From: a@b\r\n\r\n");
  // In the middle, folded, in another case, with white space before the colon, twice.
  EXPECT_EQ(without("From: a@b\r\nAUTHENTICATION-results \t:\r\n MX.Example.COM;\r\n\tspf=pass\r\nTo: c@d\r\n"
                    "Authentication-Results: (x)mx.example.com 1; none\r\n\r\n",
                    2),
            "From: a@b\r\nTo: c@d\r\n\r\n");
  // The last line of a message that is all header, without an end.
  EXPECT_EQ(without("From: a@b\r\nAuthentication-Results: mx.example.com", 1), "From: a@b\r\n");
  for (const std::string_view other : {
           "Authentication-Results: sub.mx.example.com; spf=pass\r\n\r\n",
           "Authentication-Results: example.com; spf=pass\r\n\r\n",
           "Authentication-Results: mx.example.com.evil.test; spf=pass\r\n\r\n",
           "Authentication-Results-Old: mx.example.com; spf=pass\r\n\r\n",
           "X-Authentication-Results: mx.example.com; spf=pass\r\n\r\n",
           "Subject: x\r\n Authentication-Results: mx.example.com; spf=pass\r\n\r\n",
           "ARC-Authentication-Results: i=1; mx.example.com; spf=pass\r\n\r\n",
       }) {
    EXPECT_EQ(without(other, 0), other);
  }
}

}  // namespace
}  // namespace portcullis::smtp
