#include "proxy/auth/ldap_text.h"

#include <gtest/gtest.h>
#include <ldap.h>

#include "proxy/auth/ldap_bind_reply.h"

namespace portcullis::auth {
namespace {

TEST(LdapText, FilterValuesCanMeanNothingElse) {
  const struct {
    std::string_view in;
    const char* out;
  } cases[] = {
      {"alice@example.com", "alice@example.com"},
      {"*", "\\2a"},
      {"a)(uid=*", "a\\29\\28uid\\3d\\2a"},
      {"\\2a", "\\5c2a"},
      {std::string_view("a\0b", 3), "a\\00b"},
      {"\xc3\xb6", "\\c3\\b6"},
      {"a&b|c!d", "a\\26b\\7cc\\21d"},
      {"", ""},
  };
  for (const auto& c : cases) EXPECT_EQ(escape_filter_value(c.in), c.out);
}

TEST(LdapText, DnValuesCanMeanNothingElse) {
  const struct {
    std::string_view in;
    const char* out;
  } cases[] = {
      {"alice", "alice"},
      {"a,ou=admins", "a\\2cou\\3dadmins"},
      {" a#+\"<>;\\", "\\20a\\23\\2b\\22\\3c\\3e\\3b\\5c"},
      {std::string_view("\0", 1), "\\00"},
      {"\xc3\xb6", "\\c3\\b6"},
  };
  for (const auto& c : cases) EXPECT_EQ(escape_dn_value(c.in), c.out);
}

TEST(LdapText, EveryOctetSurvivesTheRoundTripThroughADn) {
  for (int c = 1; c < 256; ++c) {
    const std::string value = "x" + std::string(1, static_cast<char>(c)) + "y";
    EXPECT_EQ(group_of("cn=" + escape_dn_value(value) + ",dc=example"), value) << c;
  }
}

TEST(LdapText, Templates) {
  const TemplateValues values{"al*ice@example.com", "cn=x"};
  EXPECT_EQ(expand_template("(&(mail={login})(uid={local})(d={domain}))", values, escape_filter_value),
            "(&(mail=al\\2aice@example.com)(uid=al\\2aice)(d=example.com))");
  EXPECT_EQ(expand_template("(member={dn})", values, escape_filter_value), "(member=cn\\3dx)");
  EXPECT_EQ(expand_template("{other}{", values, escape_filter_value), "{other}{");
  EXPECT_EQ(expand_template("{local}|{domain}|", {"{domain}", {}}, escape_filter_value), "{domain}||")
      << "a value is not a template";
  EXPECT_EQ(expand_template("{local}", {"a@b@c", {}}, escape_dn_value), "a@b");
}

TEST(LdapText, PrefixesAndGroups) {
  EXPECT_EQ(strip_smtp_prefix("SMTP:a@b"), "a@b");
  EXPECT_EQ(strip_smtp_prefix("smtp:a@b"), "a@b");
  EXPECT_EQ(strip_smtp_prefix("sip:a@b"), "sip:a@b");
  EXPECT_EQ(strip_smtp_prefix("smtp"), "smtp");
  EXPECT_EQ(group_of("CN=Mail Admins,OU=Groups,DC=example,DC=com"), "Mail Admins");
  EXPECT_EQ(group_of("staff"), "staff");
  EXPECT_EQ(group_of(""), std::nullopt);
  EXPECT_EQ(group_of("cn=,dc=example"), std::nullopt);
  EXPECT_EQ(group_of("=broken="), std::nullopt);
}

std::string ad(const char* data) {
  return std::string("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data ") + data +
         ", v2580";
}

TEST(LdapBindReply, ReadsActiveDirectorysCodes) {
  const struct {
    const char* data;
    Result expected;
  } cases[] = {
      {"525", Result::bad_credentials}, {"52e", Result::bad_credentials},  {"530", Result::disabled},
      {"531", Result::disabled},        {"532", Result::password_expired}, {"533", Result::disabled},
      {"701", Result::disabled},        {"773", Result::password_expired}, {"775", Result::disabled},
      {"0", Result::bad_credentials},   {"zzz", Result::bad_credentials},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(judge({.code = LDAP_INVALID_CREDENTIALS, .diagnostic = ad(c.data)}).result, c.expected)
        << c.data;
  }
  EXPECT_EQ(active_directory_code(ad("52E")), 0x52eU);
  EXPECT_EQ(active_directory_code("error, data 533, v1"), 0U) << "not Active Directory's sentence";
  EXPECT_EQ(active_directory_code("AcceptSecurityContext error, data 533"), 0U) << "cut off";
  EXPECT_EQ(active_directory_code(""), 0U);
}

TEST(LdapBindReply, EveryCodeHasItsMeaning) {
  const struct {
    LdapBindReply reply;
    Result expected;
  } cases[] = {
      {{.code = LDAP_SUCCESS}, Result::success},
      {{.code = LDAP_SUCCESS, .policy = PolicyError::change_after_reset}, Result::password_expired},
      {{.code = LDAP_SUCCESS, .policy = PolicyError::password_expired}, Result::password_expired},
      {{.code = LDAP_SUCCESS, .policy = PolicyError::password_expired, .grace_logins = 2}, Result::success},
      {{.code = LDAP_SUCCESS, .grace_logins = 0}, Result::success},
      {{.code = LDAP_SUCCESS, .expires_seconds = 10}, Result::success},
      {{.code = LDAP_SUCCESS, .expired_control = true}, Result::password_expired},
      {{.code = LDAP_INVALID_CREDENTIALS}, Result::bad_credentials},
      {{.code = LDAP_INVALID_CREDENTIALS, .policy = PolicyError::account_locked}, Result::disabled},
      {{.code = LDAP_INVALID_CREDENTIALS, .policy = PolicyError::password_expired}, Result::password_expired},
      {{.code = LDAP_INVALID_CREDENTIALS, .policy = PolicyError::other}, Result::bad_credentials},
      {{.code = LDAP_NO_SUCH_OBJECT}, Result::bad_credentials},
      {{.code = LDAP_INAPPROPRIATE_AUTH}, Result::bad_credentials},
      {{.code = LDAP_CONSTRAINT_VIOLATION, .diagnostic = "Exceed password retry limit"}, Result::disabled},
      {{.code = LDAP_UNWILLING_TO_PERFORM, .diagnostic = "Account inactivated."}, Result::disabled},
      {{.code = LDAP_UNWILLING_TO_PERFORM}, Result::backend_error},
      {{.code = LDAP_REFERRAL}, Result::backend_error},
      {{.code = LDAP_BUSY}, Result::backend_error},
      {{.code = LDAP_UNAVAILABLE}, Result::backend_error},
      {{.code = LDAP_CONFIDENTIALITY_REQUIRED}, Result::backend_error},
      {{.code = LDAP_INVALID_DN_SYNTAX}, Result::backend_error},
      {{.code = LDAP_SERVER_DOWN}, Result::backend_error},
      {{.code = 12345}, Result::backend_error},
  };
  for (const auto& c : cases) EXPECT_EQ(judge(c.reply).result, c.expected) << c.reply.code;
}

}  // namespace
}  // namespace portcullis::auth
