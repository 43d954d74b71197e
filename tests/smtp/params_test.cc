#include "smtp/params.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/smtp/segments.h"

namespace portcullis::smtp {
namespace {

using std::string_literals::operator""s;
using test::ExactBuffer;

const Extensions all{.esmtp = true,
                     .pipelining = true,
                     .eight_bit_mime = true,
                     .smtputf8 = true,
                     .chunking = true,
                     .dsn = true,
                     .enhanced_status_codes = true,
                     .size = 1000,
                     .auth = mech_plain};

auto mail(const std::string& text, const Extensions& offered = all) {
  return parse_mail_parameters(ExactBuffer(text).view(), offered);
}
auto rcpt(const std::string& text, const Extensions& offered = all) {
  return parse_rcpt_parameters(ExactBuffer(text).view(), offered);
}

TEST(MailParameters, ReadsAllOfThem) {
  const auto none = mail("");
  ASSERT_TRUE(none.has_value());
  EXPECT_FALSE(none->size_octets || none->body || none->smtputf8 || none->auth || none->ret || none->envid);

  const auto p = mail("SIZE=123 body=8bitmime SMTPUTF8  AUTH=a+2Bb@example.com RET=hdrs envid=QQ+2B1");
  ASSERT_TRUE(p.has_value()) << p.error().text;
  EXPECT_EQ(p->size_octets, 123U);
  EXPECT_EQ(p->body, Body::eight_bit_mime);
  EXPECT_TRUE(p->smtputf8);
  EXPECT_EQ(p->auth, "a+b@example.com");
  EXPECT_EQ(p->ret, "HDRS");
  EXPECT_EQ(p->envid, "QQ+2B1");

  EXPECT_EQ(mail("BODY=7BIT")->body, Body::seven_bit);
  EXPECT_EQ(mail("AUTH=<>")->auth, "<>");
  EXPECT_EQ(mail("RET=FULL")->ret, "FULL");
  EXPECT_EQ(mail("SIZE=0")->size_octets, 0U);
  EXPECT_EQ(mail("SIZE=18446744073709551615")->size_octets, 18446744073709551615U);
}

// Lower-case digits and a bare '=' are written as RFC 3461 has them.
TEST(MailParameters, XtextGoesOnInOneSpelling) {
  EXPECT_EQ(mail("ENVID=a+3db=+2Bc")->envid, "a+3Db+3D+2Bc");
  EXPECT_EQ(rcpt("ORCPT=rfc822;SRS0=ab=cd+2btag@b.example")->orcpt, "rfc822;SRS0+3Dab+3Dcd+2Btag@b.example");
}

TEST(MailParameters, RefusesBadOnes) {
  const std::string bad[] = {
      "SIZE",
      "SIZE=",
      "SIZE=x",
      "SIZE=-1",
      "SIZE=+1",
      "SIZE=1.0",
      "SIZE=18446744073709551616",
      "SIZE=000000000000000000001",
      "SIZE=1 SIZE=1",
      "SIZE=1 size=2",
      "BODY",
      "BODY=",
      "BODY=9BIT",
      "SMTPUTF8=",
      "SMTPUTF8=yes",
      "SMTPUTF8 SMTPUTF8",
      "AUTH",
      "AUTH=",
      "AUTH=+4",
      "AUTH=+zz",
      "AUTH=a+00b",
      "AUTH=a+0D+0Ab",
      "AUTH=+FF",
      "AUTH=" + std::string(321, 'a'),
      "RET",
      "RET=",
      "RET=ALL",
      "ENVID",
      "ENVID=",
      "ENVID=+0A",
      "ENVID=+C3+A9",
      "ENVID=" + std::string(101, 'a'),
      "SIZE=1\tBODY=7BIT",
      "SIZE=1\x01",
      "SIZE=1\0"s,
      "X=\xc3\xa9",
      "\x7f",
  };
  for (const std::string& text : bad) {
    const auto parsed = mail(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().code, 501) << text;
    EXPECT_EQ(parsed.error().enhanced, "5.5.4") << text;
  }
}

TEST(MailParameters, RefusesWhatWasNotOffered) {
  for (const char* text : {"SIZE=1", "BODY=7BIT", "SMTPUTF8", "AUTH=<>", "RET=FULL", "ENVID=a"}) {
    EXPECT_EQ(mail(text, Extensions{}).error().code, 555) << text;
    EXPECT_EQ(mail(text, Extensions{}).error().enhanced, "5.5.4") << text;
    EXPECT_TRUE(mail(text).has_value()) << text;
  }
  for (const char* text :
       {"BODY=BINARYMIME", "NOTIFY=NEVER", "XFOO", "=", "=1", "SIZ=1", "SIZES=1", "REQUIRETLS"}) {
    EXPECT_EQ(mail(text).error().code, 555) << text;
  }
  // What is quoted is short.
  EXPECT_LT(mail(std::string(2000, 'X')).error().text.size(), 80U);
}

TEST(RcptParameters, ReadsBothOfThem) {
  EXPECT_FALSE(rcpt("")->notify || rcpt("")->orcpt);
  const auto p = rcpt("NOTIFY=success,Delay orcpt=rfc822;a+2Bb@example.com");
  ASSERT_TRUE(p.has_value()) << p.error().text;
  EXPECT_EQ(p->notify, "success,Delay");
  EXPECT_EQ(p->orcpt, "rfc822;a+2Bb@example.com");
  EXPECT_EQ(rcpt("NOTIFY=NEVER")->notify, "NEVER");
  EXPECT_EQ(rcpt("NOTIFY=DELAY,FAILURE,SUCCESS")->notify, "DELAY,FAILURE,SUCCESS");
  EXPECT_EQ(rcpt("ORCPT=utf-8;\\x{E9}@example.com")->orcpt, "utf-8;\\x{E9}@example.com");
}

TEST(RcptParameters, RefusesBadOnes) {
  const std::string bad[] = {
      "NOTIFY",
      "NOTIFY=",
      "NOTIFY=,",
      "NOTIFY=NEVER,DELAY",
      "NOTIFY=DELAY,NEVER",
      "NOTIFY=DELAY,DELAY",
      "NOTIFY=DELAY,",
      "NOTIFY=,DELAY",
      "NOTIFY=SUCCESS,,DELAY",
      "NOTIFY=ALWAYS",
      "NOTIFY=NEVER NOTIFY=NEVER",
      "ORCPT",
      "ORCPT=",
      "ORCPT=rfc822",
      "ORCPT=rfc822;",
      "ORCPT=;a@b",
      "ORCPT=rfc(822);a@b",
      "ORCPT=rfc822;a+0Ab",
      "ORCPT=rfc822;+0",
      "ORCPT=rf(c;a@b",
      "ORCPT=rfc822;" + std::string(494, 'a'),
      "ORCPT=utf-8;\xc3\xa9@b",
  };
  for (const std::string& text : bad) {
    const auto parsed = rcpt(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().code, 501) << text;
    EXPECT_EQ(parsed.error().enhanced, "5.5.4") << text;
  }
  EXPECT_EQ(rcpt("SIZE=1").error().code, 555);
  EXPECT_EQ(rcpt("NOTIFY=NEVER", Extensions{}).error().code, 555);
  EXPECT_EQ(rcpt("ORCPT=rfc822;a@b", Extensions{}).error().code, 555);
}

TEST(HasSmtputf8Parameter, LooksBehindThePathOnly) {
  for (const char* text : {"FROM:<a@b> SMTPUTF8", "FROM:<a@b> smtputf8 SIZE=1", "FROM:<a@b> SIZE=1 SMTPUTF8",
                           "FROM:<\"a> b\"@c> SMTPUTF8", "FROM:<\"a\\\"\"@c> SMTPUTF8", "FROM:<> SMTPUTF8"}) {
    EXPECT_TRUE(has_smtputf8_parameter(ExactBuffer(text).view())) << text;
  }
  for (const char* text : {"", "<", "FROM:<a@b>", "FROM:<a@b> SIZE=1", "FROM:<\"> SMTPUTF8 \"@c>",
                           "FROM:<\"\\", "SMTPUTF8", "FROM:<a SMTPUTF8 @b>", "FROM:<a@b> SMTPUTF8=1",
                           "FROM:<a@b> XSMTPUTF8", "FROM:<\"a\\\"> SMTPUTF8 \"@c>"}) {
    EXPECT_FALSE(has_smtputf8_parameter(ExactBuffer(text).view())) << text;
  }
}

TEST(BdatArgument, Table) {
  const auto parse = [](const std::string& text) { return parse_bdat_argument(ExactBuffer(text).view()); };
  const auto reads = [&parse](const std::string& text, std::uint64_t octets, bool last) {
    const auto parsed = parse(text);
    return parsed && parsed->size_octets == octets && parsed->last == last;
  };
  EXPECT_TRUE(reads("0", 0, false));
  EXPECT_TRUE(reads("10", 10, false));
  EXPECT_TRUE(reads("10 LAST", 10, true));
  EXPECT_TRUE(reads("10 last", 10, true));
  EXPECT_TRUE(reads("10  LAST", 10, true));
  EXPECT_TRUE(reads("18446744073709551615", 18446744073709551615U, false));
  for (const char* text : {"", "LAST", " 10", "10 LAST ", "10 LAST x", "10 LAS", "-1", "+1", "0x10", "1e3",
                           "18446744073709551616", "000000000000000000001", "10\tLAST", "10 10"}) {
    EXPECT_FALSE(parse(text).has_value()) << text;
  }
}

TEST(Xtext, RoundTripsEveryOctet) {
  std::string octets;
  for (int c = 0; c < 256; ++c) octets += static_cast<char>(c);
  const std::string encoded = encode_xtext(octets);
  for (const char c : encoded) EXPECT_TRUE(c > 32 && c < 127 && c != '=');
  EXPECT_EQ(decode_xtext(ExactBuffer(encoded).view()), octets);
  EXPECT_EQ(encode_xtext("a+b=c d"), "a+2Bb+3Dc+20d");
  EXPECT_EQ(decode_xtext(""), "");
  EXPECT_EQ(decode_xtext("a+2b+3d=c"), "a+==c") << "what mail servers write";
  for (const char* text : {"+", "+2", "+2G", "a b", "\x7f", "\xc3\xa9", "+ 2B"}) {
    EXPECT_FALSE(decode_xtext(ExactBuffer(text).view()).has_value()) << text;
  }
}

}  // namespace
}  // namespace portcullis::smtp
