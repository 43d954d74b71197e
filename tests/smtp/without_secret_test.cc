// Secrets that a server quotes back do not stay in its text.
#include "smtp/without_secret.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "smtp/base64.h"

namespace portcullis::smtp {
namespace {

const std::string secret = "S3cret-Passw0rd";

TEST(WithoutSecret, KeepsWhatHasNone) {
  for (const std::string text : {"", "ok", "5.7.8 Authentication failed", "Error in IMAP command LOGIN"}) {
    EXPECT_EQ(without_secret(text, secret), text);
  }
  EXPECT_EQ(without_secret("anything", ""), "anything");
}

TEST(WithoutSecret, StrikesTheSecretOut) {
  EXPECT_EQ(without_secret("Error: LOGIN alice S3cret-Passw0rd now", secret), "Error: LOGIN alice [...] now");
  EXPECT_EQ(without_secret("LOGIN ALICE S3CRET-PASSW0RD", secret), "LOGIN ALICE [...]");
  EXPECT_EQ(without_secret("S3cret-Passw0rd S3cret-Passw0rd", secret), "[...] [...]");
  EXPECT_EQ(without_secret("command line too long: LOGIN alice S3cret-Pas", secret),
            "command line too long: LOGIN alice [...]");
  EXPECT_EQ(without_secret(R"(LOGIN alice "S3\"cret\\Pass")", R"(S3"cret\Pass)"), R"(LOGIN alice "[...]")");
}

// The secret stands at every offset of the SASL response; three of its base64 characters in a row would tell
// two of its octets.
TEST(WithoutSecret, StrikesItOutOfBase64AtAnyOffset) {
  for (const std::string user : {"", "a", "al", "ali", "alice@example.com"}) {
    for (const std::string tail : {"", "\x01\x01", "x"}) {
      const std::string response = std::string(1, '\0') + user + std::string(1, '\0') + secret + tail;
      const std::string encoded = encode_base64(response);
      const std::string left =
          without_secret("500 Command unrecognized: \"AUTH PLAIN " + encoded + "\"", secret);
      EXPECT_NE(left.find("[...]"), std::string::npos) << left;
      for (std::size_t offset = 0; offset < 3; ++offset) {
        const std::string pure = encode_base64(std::string(offset, 'x') + secret).substr(4, 12);
        for (std::size_t at = 0; at + 6 <= pure.size(); ++at) {
          EXPECT_EQ(left.find(pure.substr(at, 6)), std::string::npos) << left << ' ' << pure;
        }
      }
    }
  }
}

TEST(WithoutSecret, StrikesItOutOfHexadecimal) {
  EXPECT_EQ(without_secret("got 5333637265742D50617373773072640A", secret), "got [...]0A");
}

TEST(WithoutSecret, WithholdsATextThatHasAShortSecret) {
  EXPECT_EQ(without_secret("LOGIN alice abc refused", "abc"), "[...]");
  EXPECT_EQ(without_secret("no such thing", "abc"), "no such thing");
}

TEST(WithoutSecret, StrikesOutShortSecretsOfFourOctets) {
  EXPECT_EQ(without_secret("LOGIN alice pw12 refused", "pw12"), "LOGIN alice [...] refused");
}

}  // namespace
}  // namespace portcullis::smtp
