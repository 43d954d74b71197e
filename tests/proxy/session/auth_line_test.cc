// AUTH with an initial response as long as RFC 4954 section 4 allows: 12288 octets of base64.
#include <gtest/gtest.h>

#include <string>

#include "smtp/base64.h"
#include "smtp/limits.h"
#include "tests/proxy/session/harness.h"

namespace portcullis::session::testing {
namespace {

// "[authzid] NUL authcid NUL passwd", so long that its base64 has `octets`.
std::string response(std::size_t octets) {
  using std::string_literals::operator""s;
  std::string message = "\0alice\0"s;
  message.resize(octets / 4 * 3, 'p');
  return smtp::encode_base64(message);
}

Setup setup() {
  Setup setup;
  setup.auth = config::AuthMode::optional;
  setup.auth_without_tls = true;
  return setup;
}

TEST(AuthLine, TheLongestInitialResponseIsTaken) {
  const std::string initial = response(smtp::limits::auth_response_octets);
  ASSERT_EQ(initial.size(), smtp::limits::auth_response_octets);
  for (const std::string blanks : {" ", "  "}) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{1000}, std::size_t{20000}}) {
      Harness h(setup());
      h.start();
      h.client("EHLO client.test\r\n");
      h.client_out.clear();
      const std::string line = "auth" + blanks + "PLAIN" + blanks + initial + "\r\n";
      for (std::size_t at = 0; at < line.size(); at += piece) h.client(line.substr(at, piece));
      EXPECT_TRUE(h.asked_auth()) << h.client_out;
      EXPECT_EQ(h.last_login, "alice");
    }
  }
}

TEST(AuthLine, NoOtherCommandIsThatLong) {
  Harness h(setup());
  h.start();
  h.client("EHLO client.test\r\n");
  h.client_out.clear();
  h.client("NOOP " + std::string(smtp::limits::command_line_octets, 'x') + "\r\n");
  EXPECT_EQ(h.client_out, "500 5.5.6 Line too long (rule command_line, id SID)\r\n");
  EXPECT_TRUE(h.session().finished());

  Harness longer(setup());
  longer.start();
  longer.client("EHLO client.test\r\n");
  longer.client_out.clear();
  longer.client("AUTH PLAIN " + std::string(smtp::limits::auth_line_octets, 'x') + "\r\n");
  EXPECT_EQ(longer.client_out, "500 5.5.6 Line too long (rule command_line, id SID)\r\n");
}

}  // namespace
}  // namespace portcullis::session::testing
