#include "smtp/extensions.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace portcullis::smtp {
namespace {

Extensions parse(std::string text) { return parse_ehlo_reply({250, "", std::move(text)}); }

TEST(ParseEhloReply, ReadsWhatPostfixSays) {
  const Extensions seen = parse(
      "mail.example.com\nPIPELINING\nSIZE 10240000\nVRFY\nETRN\nSTARTTLS\nAUTH PLAIN LOGIN GSSAPI\n"
      "AUTH=PLAIN LOGIN\nENHANCEDSTATUSCODES\n8BITMIME\nDSN\nSMTPUTF8\nCHUNKING\n"
      "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT\n"
      "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT");
  const Extensions expected{
      .esmtp = true,
      .pipelining = true,
      .eight_bit_mime = true,
      .smtputf8 = true,
      .chunking = true,
      .dsn = true,
      .enhanced_status_codes = true,
      .starttls = true,
      .vrfy = true,
      .size = 10240000,
      .auth = mech_plain | mech_login,
      .xforward = x_name | x_addr | x_port | x_proto | x_helo | x_ident | x_source,
      .xclient = x_name | x_addr | x_port | x_proto | x_helo | x_login | x_destaddr | x_destport};
  EXPECT_EQ(seen, expected);
}

TEST(ParseEhloReply, Table) {
  EXPECT_EQ(parse_ehlo_reply({502, "", "no\nPIPELINING"}), Extensions{});
  EXPECT_EQ(parse(""), Extensions{.esmtp = true});
  EXPECT_EQ(parse("PIPELINING"), Extensions{.esmtp = true}) << "the first line is a greeting";
  EXPECT_TRUE(parse("x\npipelining").pipelining);
  EXPECT_FALSE(parse("x\nPIPELININGS").pipelining);
  EXPECT_FALSE(parse("x\n PIPELINING").pipelining);
  EXPECT_EQ(parse("x").size, std::nullopt);
  EXPECT_EQ(parse("x\nSIZE").size, 0U);
  EXPECT_EQ(parse("x\nSIZE 0").size, 0U);
  EXPECT_EQ(parse("x\nSIZE 42 extra").size, 42U);
  EXPECT_EQ(parse("x\nSIZE 18446744073709551615").size, 18446744073709551615U);
  EXPECT_EQ(parse("x\nSIZE 18446744073709551616").size, 0U);
  EXPECT_EQ(parse("x\nSIZE -1").size, 0U);
  EXPECT_EQ(parse("x\nSIZE 1k").size, 0U);
  EXPECT_EQ(parse("x\nAUTH=PLAIN").auth, 0U);
  EXPECT_EQ(parse("x\nAUTH plain\nAUTH  xoauth2 NTLM external OAuthBearer").auth,
            mech_plain | mech_xoauth2 | mech_external | mech_oauthbearer);
}

TEST(RenderEhlo, OneLineAKeyword) {
  const Extensions offered{
      .esmtp = true, .pipelining = true, .starttls = true, .size = 0, .auth = mech_plain};
  EXPECT_EQ(render_ehlo(offered, "mx greets you"),
            (Reply{250, "", "mx greets you\nPIPELINING\nSTARTTLS\nSIZE\nAUTH PLAIN"}));
  EXPECT_EQ(render_ehlo({}, "mx"), (Reply{250, "", "mx"}));
  EXPECT_EQ(render_ehlo({}, "mx\nPIPELINING").text, "mx PIPELINING") << "a greeting can not offer anything";
}

TEST(RenderEhlo, IsReadBackAsItWas) {
  for (unsigned i = 0; i < 1000; ++i) {
    std::mt19937 random(i);
    const auto flag = [&] { return random() % 2 == 0; };
    Extensions e{.esmtp = true,
                 .pipelining = flag(),
                 .eight_bit_mime = flag(),
                 .smtputf8 = flag(),
                 .chunking = flag(),
                 .binarymime = flag(),
                 .dsn = flag(),
                 .enhanced_status_codes = flag(),
                 .starttls = flag(),
                 .requiretls = flag(),
                 .vrfy = flag(),
                 .help = flag(),
                 .size = {},
                 .auth = static_cast<std::uint8_t>(random() % 32),
                 .xforward = static_cast<std::uint16_t>(random() % 1024),
                 .xclient = static_cast<std::uint16_t>(random() % 1024)};
    if (flag()) e.size = random() % 3 == 0 ? 0 : random();
    EXPECT_EQ(parse_ehlo_reply(render_ehlo(e, "mx")), e);
  }
}

}  // namespace
}  // namespace portcullis::smtp
