#include "proxy/auth/user_file.h"

#include <gtest/gtest.h>

#include "policy/ownership.h"
#include "proxy/auth/owned_names.h"
#include "proxy/auth/password_hash.h"

namespace portcullis::auth {
namespace {

// A real hash of "secret", made once: yescrypt is slow on purpose.
const std::string& hash() {
  static const std::string made = hash_password("secret").value();
  return made;
}

TEST(UserFile, ReadsAccounts) {
  const auto parsed = parse_user_file("# our people\n\n   # indented comment\n" +                      //
                                      ("Alice@Example.COM:" + hash() + "\n") +                         //
                                      ("bob:" + hash() + ":bob@example.com, *@Sales.example.com\n") +  //
                                      ("carol:" + hash() + "::Staff,domain admins\n") +                //
                                      ("dave:" + hash() + ":d@example.com:staff"));  // no LF at the end
  ASSERT_TRUE(parsed.problems.empty()) << to_string(parsed.problems[0], "users");
  ASSERT_EQ(parsed.entries.size(), 4U);
  EXPECT_EQ(parsed.entries[0].login, "alice@example.com");
  EXPECT_EQ(parsed.entries[0].hash, hash());
  EXPECT_EQ(parsed.entries[0].line, 4U);
  EXPECT_EQ(parsed.entries[1].addresses,
            (std::vector<std::string>{"bob@example.com", "*@sales.example.com"}));
  EXPECT_TRUE(parsed.entries[2].addresses.empty());
  EXPECT_EQ(parsed.entries[2].groups, (std::vector<std::string>{"staff", "domain admins"}));
  EXPECT_EQ(parsed.entries[3].groups, std::vector<std::string>{"staff"});
}

struct BadLine {
  const char* line;  // '%' stands for a good hash
  std::uint32_t column;
  const char* text;
};

class BadLines : public ::testing::TestWithParam<BadLine> {};

TEST_P(BadLines, AreReportedWithTheirPlace) {
  std::string line = GetParam().line;
  std::uint32_t column = GetParam().column;
  if (const auto at = line.find('%'); at != std::string::npos) {
    line.replace(at, 1, hash());
    if (column > at) column += static_cast<std::uint32_t>(hash().size() - 1);
  }
  const auto parsed = parse_user_file("# comment\n" + line + "\n");
  ASSERT_EQ(parsed.problems.size(), 1U) << line;
  EXPECT_EQ(parsed.problems[0].line, 2U);
  EXPECT_EQ(parsed.problems[0].column, column) << line;
  EXPECT_NE(parsed.problems[0].text.find(GetParam().text), std::string::npos) << parsed.problems[0].text;
}

INSTANTIATE_TEST_SUITE_P(
    UserFile, BadLines,
    ::testing::Values(BadLine{"alice", 6, "expected login:hash"}, BadLine{":%", 1, "not a valid login"},
                      BadLine{"al ice\x01:%", 7, "control character"},
                      BadLine{"alice:%\r", 8, "carriage return"},
                      BadLine{"alice:secret", 7, "not a crypt(3) hash"},
                      BadLine{"alice:", 7, "not a crypt(3) hash"},
                      BadLine{"alice:$y$j9T$abcdefgh", 7, "cut short"},
                      BadLine{"alice:$1$abcdefgh$Jn1nhvLZ3Kg0wLsZ8aV1d0", 7, "no longer safe"},
                      BadLine{"alice:%:a@example.com,,b@example.com", 23, "empty address"},
                      BadLine{"alice:%:no-domain", 9, "not a valid address"},
                      BadLine{"alice:%::x,", 12, "empty group name"},
                      BadLine{"alice:%::staff:more", 15, "more than four fields"}));

TEST(UserFile, RefusesALoginTwiceUnderAnySpelling) {
  const auto parsed = parse_user_file("alice:" + hash() + "\nALICE:" + hash() + "\n");
  ASSERT_EQ(parsed.problems.size(), 1U);
  EXPECT_EQ(to_string(parsed.problems[0], "users"), "users:2:1: the login is in line 1 already");
}

TEST(UserFile, ReportsAllProblemsButABoundedNumber) {
  EXPECT_EQ(parse_user_file("a\nb\nc\n").problems.size(), 3U);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "x\n";
  EXPECT_EQ(parse_user_file(many).problems.size(), user_file_problems_max);
  const auto longline = parse_user_file("alice:" + std::string(user_line_octets_max, 'x'));
  ASSERT_EQ(longline.problems.size(), 1U);
  EXPECT_EQ(longline.problems[0].text, "the line is too long");
}

TEST(PasswordHash, VerifiesWhatItMade) {
  EXPECT_TRUE(hash().starts_with("$y$"));
  EXPECT_TRUE(hash_problem(hash()).empty());
  EXPECT_TRUE(verify_password(hash(), "secret"));
  EXPECT_FALSE(verify_password(hash(), "Secret"));
  EXPECT_FALSE(verify_password(hash(), ""));
  EXPECT_NE(hash_password("secret").value(), hash()) << "no salt";
  EXPECT_FALSE(hash_password("").has_value());
  EXPECT_FALSE(hash_password(std::string(512, 'x')).has_value());
  EXPECT_FALSE(hash_password(std::string_view("a\0b", 3)).has_value());
  EXPECT_FALSE(verify_password("", "secret"));
  EXPECT_FALSE(verify_password("*0", "secret"));
}

TEST(PasswordHash, TakesHashesBroughtAlong) {
  // By `openssl passwd -6`, and a published bcrypt vector.
  EXPECT_TRUE(
      verify_password("$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnI"
                      "FNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
                      "Hello world!"));
  const std::string bcrypt = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
  EXPECT_TRUE(hash_problem(bcrypt).empty());
  EXPECT_TRUE(verify_password(bcrypt, "U*U"));
}

TEST(PasswordHash, KindsHaveTheSameCost) {
  EXPECT_EQ(hash_kind("$y$j9T$salt$hash"), "$y$j9T$");
  EXPECT_EQ(hash_kind("$2b$12$saltandhash"), "$2b$12$");
  EXPECT_EQ(hash_kind("$6$salt$hash"), "$6$");
  EXPECT_EQ(hash_kind("$6$rounds=10000$salt$hash"), "$6$rounds=10000$");
  EXPECT_EQ(hash_kind("abJnggxhB/yWI"), "");
}

TEST(OwnedNames, AreCanonical) {
  EXPECT_EQ(owned_address("Alice@EXAMPLE.com"), "alice@example.com");
  for (const char* const none : {"alice", "alice@", "", "a@b@c", "@example.com", "alice@*.example.com"}) {
    EXPECT_EQ(owned_address(none), std::nullopt) << none;
    EXPECT_EQ(granted_addresses(none), std::nullopt) << none;
  }
  EXPECT_EQ(group_name("Staff"), "staff");
  EXPECT_EQ(group_name("Domain Admins"), "domain admins");
  EXPECT_EQ(group_name("a\nb"), std::nullopt);
}

// Users may often edit these attributes themselves: whatever they write, in whatever spelling, is one
// address.
TEST(OwnedNames, NothingThatUsersWriteIsAPattern) {
  for (const char* const text : {"*@example.com",
                                 "\"*\"@example.com",
                                 "\"\\*\"@example.com",
                                 "\uff0a@example.com",
                                 "\"\uff0a\"@example.com",
                                 "\ufe61@example.com",
                                 "*@\uff45xample.com",
                                 "\uff0a@example\u3002com",
                                 "\uff0a\uff20example.com",
                                 "ceo\ufe6bexample.com@example.com",
                                 "ceo\uff20example.com@example.com",
                                 "a\u00a0b@example.com",
                                 "\uff1cceo\uff1e@example.com",
                                 "@example.com",
                                 "%@example.com",
                                 "*%example.com@example.com",
                                 "c*@example.com",
                                 "**@example.com",
                                 "*@*.com",
                                 "*@\uff0a.com",
                                 "*@com",
                                 "\u2217@example.com",
                                 "\u204e@example.com",
                                 "\U0001f7b6@example.com"}) {
    const auto address = owned_address(text);
    if (!address) continue;
    policy::Account account{.login = "mallory"};
    account.addresses = {*address};
    const policy::Ownership ownership({}, '+');
    for (const char* const victim : {"ceo", "c", "cc", "alice"}) {
      for (const char* const domain : {"example.com", "xample.com", "a.com", "com"}) {
        EXPECT_FALSE(ownership.owns(account, {victim, domain}))
            << text << " owns " << victim << '@' << domain;
      }
    }
  }
}

// The address column of the user file and the grant attribute are an administrator's. A wildcard is an ASCII
// "*" alone before the "@", nothing else.
TEST(OwnedNames, AGrantMayBeAWholeDomain) {
  EXPECT_EQ(granted_addresses("*@Example.com").value().text(), "*@example.com");
  EXPECT_TRUE(granted_addresses("*@Example.com")->has_wildcard());
  EXPECT_EQ(granted_addresses("Alice@Example.com").value().text(), "alice@example.com");
  for (const char* const none : {"\"*\"@example.com", "\uff0a@example.com", "\ufe61@example.com",
                                 "*@*.example.com", "@example.com", "*@"}) {
    EXPECT_EQ(granted_addresses(none), std::nullopt) << none;
  }
  const policy::Account account = account_of({.login = "alice",
                                              .hash = "",
                                              .addresses = {"sales@example.com", "*@lists.example.com"},
                                              .groups = {}});
  EXPECT_EQ(account.addresses, std::vector<std::string>{"sales@example.com"});
  EXPECT_EQ(account.patterns.size(), 1U);
}

}  // namespace
}  // namespace portcullis::auth
