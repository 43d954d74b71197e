// The LDAP backend against a real slapd.
#include "proxy/auth/ldap_backend.h"

#include <gtest/gtest.h>
#include <ldap.h>

#include <algorithm>

#include "policy/lockout.h"
#include "proxy/auth/user_file_edit.h"
#include "tests/proxy/auth/fake_backend.h"
#include "tests/proxy/auth/slapd.h"
#include "tests/proxy/auth/temp_dir.h"

namespace portcullis::auth {
namespace {

using namespace std::chrono_literals;
using testing::Slapd;

// One directory for all tests; those that harm it start their own.
class LdapBackendTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { slapd_ = new Slapd; }
  static void TearDownTestSuite() {
    delete slapd_;
    slapd_ = nullptr;
  }

  static Answer ask(Asker& asker, const std::string& login, std::string_view password,
                    std::chrono::milliseconds within = 10s) {
    Query query;
    query.login = login;
    query.secret = smtp::Secret(password);
    return asker.ask(query, Clock::now() + within);
  }
  static Answer ask(const LdapBackend& settings, const std::string& login, std::string_view password) {
    LdapDirectory directory(settings);
    return ask(*directory.asker(), login, password);
  }

  static Slapd* slapd_;
};
Slapd* LdapBackendTest::slapd_ = nullptr;

TEST_F(LdapBackendTest, SearchesAndBinds) {
  LdapDirectory directory(slapd_->settings());
  const auto asker = directory.asker();
  const Answer alice = ask(*asker, "alice@example.com", "alice secret");
  ASSERT_EQ(alice.result, Result::success) << alice.detail;
  EXPECT_EQ(alice.account.login, "alice") << "from login_attribute";
  EXPECT_EQ(alice.account.backend, "ldap");
  auto addresses = alice.account.addresses;
  std::ranges::sort(addresses);
  EXPECT_EQ(addresses,
            (std::vector<std::string>{"alice.smith@example.com", "alice@example.com", "english@example.com",
                                      "primary@example.com", "second@example.com"}));
  auto groups = alice.account.groups;
  std::ranges::sort(groups);
  EXPECT_EQ(groups, (std::vector<std::string>{"mail admins", "staff"}));
  EXPECT_EQ(ask(*asker, "bob", "b\xc3\xb6\x62 secret").result, Result::success) << "8-bit password";
  const Answer wrong = ask(*asker, "alice", "wrong");
  const Answer unknown = ask(*asker, "nobody", "wrong");
  EXPECT_EQ(wrong.result, Result::bad_credentials);
  EXPECT_EQ(unknown.result, Result::bad_credentials);
  EXPECT_EQ(ask(*asker, "nopassword", "x").result, Result::bad_credentials);
  EXPECT_EQ(ask(*asker, "alice", "alice secret").result, Result::success)
      << "after failures, same connection";
}

TEST_F(LdapBackendTest, AnEmptyPasswordNeverReachesTheServer) {
  // slapd answers an unauthenticated bind with success when told to; we do not ask.
  EXPECT_EQ(ask(slapd_->settings(), "alice", "").result, Result::bad_credentials);
  auto by_template = slapd_->settings();
  by_template.dn_template = "uid={local},ou=people,dc=example,dc=com";
  EXPECT_EQ(ask(by_template, "alice", "").result, Result::bad_credentials);
}

TEST_F(LdapBackendTest, BindsByTemplate) {
  auto settings = slapd_->settings();
  settings.dn_template = "uid={local},ou=people,dc=example,dc=com";
  settings.bind_dn.clear();
  settings.bind_password.clear();
  settings.login_attribute.clear();
  const Answer alice = ask(settings, "alice@example.com", "alice secret");
  ASSERT_EQ(alice.result, Result::success) << alice.detail;
  EXPECT_EQ(alice.account.login, "alice@example.com");
  EXPECT_EQ(alice.account.addresses.size(), 5U) << "read as the user";
  const Answer elsewhere = ask(settings, "alice@other.example", "alice secret");
  ASSERT_EQ(elsewhere.result, Result::success);
  EXPECT_EQ(elsewhere.account.login, "alice") << "nobody vouched for that domain";
  EXPECT_EQ(ask(settings, "alice", "wrong").result, Result::bad_credentials);
  EXPECT_EQ(ask(settings, "nobody", "wrong").result, Result::bad_credentials);
  EXPECT_EQ(ask(settings, "twin1,ou=people", "twin secret").result, Result::bad_credentials);
  settings.bind_dn = slapd_->settings().bind_dn;
  settings.bind_password = slapd_->settings().bind_password;
  EXPECT_EQ(ask(settings, "alice", "alice secret").account.addresses.size(), 5U) << "read as the service";
}

TEST_F(LdapBackendTest, ADomainThatNobodyComparedIsNotVouchedFor) {
  auto settings = slapd_->settings();
  settings.login_attribute.clear();
  settings.filter = "(|(uid={local})(mail={login}))";
  EXPECT_EQ(ask(settings, "alice@other.example", "alice secret").account.login, "alice");
  EXPECT_EQ(ask(settings, "alice.smith@example.com", "alice secret").account.login,
            "alice.smith@example.com");
  settings.filter = "(mail={local}@{domain})";
  EXPECT_EQ(ask(settings, "alice@example.com", "alice secret").account.login, "alice@example.com");
  EXPECT_EQ(ask(settings, "alice@other.example", "alice secret").result, Result::bad_credentials);
}

// Where the domain is not compared, each would be a new login to brute-force control.
TEST_F(LdapBackendTest, AnotherDomainIsNoNewLoginToGuessAt) {
  policy::LockoutRule rule;
  rule.distinct_passwords_per_login = 3;
  rule.first_delay_ms = 0;
  Settings settings;
  settings.backends = {BackendKind::ldap};
  settings.ldap = slapd_->settings();
  settings.ldap.filter = "(uid={local})";
  const auto workers = testing::workers();
  Service service(settings, std::make_shared<policy::Lockout>(rule), {}, workers);
  const auto guess = [&service](std::uint8_t n, const std::string& password) {
    auto request = testing::request("bob@domain-" + std::to_string(n) + ".example", password);
    request.client.octets = {198, 51, 100, n};
    return testing::ask(service, std::move(request)).result;
  };
  for (std::uint8_t n = 0; n < 3; ++n) {
    EXPECT_EQ(guess(n, "guess " + std::to_string(n)), Result::bad_credentials);
  }
  EXPECT_EQ(guess(3, "b\xc3\xb6\x62 secret"), Result::blocked);
}

TEST_F(LdapBackendTest, AnAccountOfTheUserFileIsAnotherOne) {
  const testing::TempDir dir;
  Settings settings;
  settings.backends = {BackendKind::file, BackendKind::ldap};
  settings.file.path = dir.path() + "/users";
  settings.ldap = slapd_->settings();
  settings.ldap.filter = "(uid={local})";
  ASSERT_TRUE(add_user(settings.file.path, "nobody@file.example", {.password = "mine"}));
  policy::LockoutRule rule;
  rule.distinct_passwords_per_login = 3;
  rule.first_delay_ms = 0;
  const auto workers = testing::workers();
  Service service(settings, std::make_shared<policy::Lockout>(rule), {}, workers);
  std::vector<Result> guesses;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(testing::ask(service, testing::request("nobody@file.example", "mine")).result, Result::success);
    guesses.push_back(
        testing::ask(service, testing::request("nobody@example.com", "guess " + std::to_string(i))).result);
  }
  EXPECT_EQ(guesses[2], Result::bad_credentials);
  EXPECT_EQ(guesses[3], Result::blocked) << "its successes forgive nothing that was tried on another";
}

TEST_F(LdapBackendTest, NothingBreaksOutOfAFilterOrADn) {
  auto settings = slapd_->settings();
  for (const char* login :
       {"*", "alice)(uid=*", "alice)(|(uid=*", "ali*", "alice\\", "\\61lice", ")", "(", "&"}) {
    EXPECT_EQ(ask(settings, login, "alice secret").result, Result::bad_credentials) << login;
  }
  EXPECT_EQ(ask(settings, "odd(*)\\", "odd secret").result, Result::success) << "a strange but real login";
  settings.dn_template = "cn={login},ou=people,dc=example,dc=com";
  settings.login_attribute.clear();
  EXPECT_EQ(ask(settings, "odd (name) *, \\", "odd secret").result, Result::success);
  settings.dn_template = "uid={login},dc=example,dc=com";
  EXPECT_EQ(ask(settings, "alice,ou=people", "alice secret").result, Result::bad_credentials);
}

// Otherwise anybody could open the circuit breaker for everybody, with five of them.
TEST_F(LdapBackendTest, ALoginThatCanNotStandInADnIsNoOutage) {
  auto settings = slapd_->settings();
  settings.login_attribute.clear();
  settings.dn_template = "uid={local},ou=people,dc=example,dc=com";
  const Answer empty = ask(settings, "@example.com", "secret");
  EXPECT_EQ(empty.result, Result::bad_credentials) << empty.detail;
  settings.dn_template = "mail={login},ou=people,dc=example,dc=com";  // of ASCII only
  const Answer other = ask(settings, "\xc3\xa4@example.com", "secret");
  EXPECT_EQ(other.result, Result::bad_credentials) << other.detail;
  settings.dn_template = "uid={login}=,=people";
  EXPECT_EQ(ask(settings, "alice", "secret").result, Result::backend_error) << "the admin's mistake";
}

TEST_F(LdapBackendTest, MoreThanOneEntryIsTheAdminsMistake) {
  const Answer twin = ask(slapd_->settings(), "twin@example.com", "twin secret");
  EXPECT_EQ(twin.result, Result::backend_error);
  EXPECT_NE(twin.detail.find("more than one entry"), std::string::npos) << twin.detail;
  auto settings = slapd_->settings();
  settings.login_attribute = "telephoneNumber";
  EXPECT_EQ(ask(settings, "alice", "alice secret").result, Result::backend_error);
}

TEST_F(LdapBackendTest, ALoginWithTwoEntriesKeepsNobodyElseOut) {
  Settings settings;
  settings.backends = {BackendKind::ldap};
  settings.ldap = slapd_->settings();
  settings.cache.ttl_seconds = 0;
  const auto workers = testing::workers();
  Service service(settings, nullptr, {}, workers);
  for (std::uint32_t i = 0; i <= settings.ldap.limits.breaker_failures; ++i) {
    EXPECT_EQ(testing::ask(service, testing::request("twin@example.com", "twin secret")).result,
              Result::backend_error);
  }
  EXPECT_EQ(testing::ask(service, testing::request("alice", "alice secret")).result, Result::success);
}

TEST_F(LdapBackendTest, GroupsBySearchAndGrants) {
  auto settings = slapd_->settings();
  settings.group_attributes.clear();
  settings.group_base_dn = "ou=groups,dc=example,dc=com";
  settings.group_filter = "(&(objectClass=groupOfNames)(member={dn}))";
  settings.grant_attribute = "description";
  settings.address_attributes = {"mail", "labeledURI"};
  const Answer alice = ask(settings, "alice", "alice secret");
  ASSERT_EQ(alice.result, Result::success) << alice.detail;
  auto groups = alice.account.groups;
  std::ranges::sort(groups);
  EXPECT_EQ(groups, (std::vector<std::string>{"mail admins", "staff"}));
  EXPECT_EQ(std::ranges::count(alice.account.addresses, "sales@example.com"), 1);
  ASSERT_EQ(alice.account.patterns.size(), 1U) << "a wildcard in an address attribute is none";
  EXPECT_EQ(alice.account.patterns.front().text(), "*@lists.example.com");
  settings.group_base_dn = "ou=nowhere,dc=example,dc=com";
  EXPECT_EQ(ask(settings, "alice", "alice secret").result, Result::backend_error) << "groups can not be read";
}

TEST_F(LdapBackendTest, PasswordPolicy) {
  slapd_->modify(
      "dn: uid=locked,ou=people,dc=example,dc=com\nchangetype: modify\nreplace: pwdAccountLockedTime\n"
      "pwdAccountLockedTime: 000001010000Z\n");
  slapd_->modify(
      "dn: uid=reset,ou=people,dc=example,dc=com\nchangetype: modify\nreplace: pwdReset\npwdReset: TRUE\n");
  LdapDirectory directory(slapd_->settings());
  const auto asker = directory.asker();
  EXPECT_EQ(ask(*asker, "locked", "locked secret").result, Result::disabled);
  const Answer reset = ask(*asker, "reset", "reset secret");
  EXPECT_EQ(reset.result, Result::password_expired);
  EXPECT_EQ(reset.detail, "the password must be changed");
  EXPECT_EQ(ask(*asker, "reset", "wrong").result, Result::bad_credentials);
  std::this_thread::sleep_for(2100ms);  // pwdMaxAge is a second
  EXPECT_EQ(ask(*asker, "expired", "expired secret").result, Result::password_expired);
  EXPECT_EQ(ask(*asker, "expired", "wrong").result, Result::bad_credentials);
  const Answer grace = ask(*asker, "grace", "grace secret");
  EXPECT_EQ(grace.result, Result::success);
  EXPECT_EQ(grace.detail, "the password has expired; grace logins left: 1");
  EXPECT_EQ(ask(*asker, "grace", "grace secret").result, Result::success);
  EXPECT_EQ(ask(*asker, "grace", "grace secret").result, Result::password_expired);
  EXPECT_EQ(ask(*asker, "alice", "alice secret").result, Result::success) << "connections still serve";
}

TEST_F(LdapBackendTest, TlsIsVerified) {
  auto settings = slapd_->settings();
  settings.ca_file = slapd_->certificate("ca.pem");

  settings.starttls = true;
  EXPECT_EQ(ask(settings, "alice", "alice secret").result, Result::success) << "StartTLS";
  settings.ca_file = slapd_->certificate("other-ca.pem");
  EXPECT_EQ(ask(settings, "alice", "alice secret").result, Result::backend_error) << "StartTLS, unknown CA";
  settings.verify_certificate = false;
  EXPECT_EQ(ask(settings, "alice", "alice secret").result, Result::success) << "told not to verify";

  settings = slapd_->settings();
  settings.urls = {slapd_->secure_url()};
  settings.ca_file = slapd_->certificate("ca.pem");
  EXPECT_EQ(ask(settings, "alice", "alice secret").result, Result::success) << "ldaps";
  settings.ca_file = slapd_->certificate("other-ca.pem");
  const Answer unknown = ask(settings, "alice", "alice secret");
  EXPECT_EQ(unknown.result, Result::backend_error) << "ldaps, unknown CA";
  settings.ca_file.clear();
  EXPECT_EQ(ask(settings, "alice", "alice secret").result, Result::backend_error)
      << "not one of the system's CAs";
  settings.ca_file = slapd_->certificate("ca.pem");
  settings.urls = {slapd_->misnamed_url()};
  EXPECT_EQ(ask(settings, "alice", "alice secret").result, Result::backend_error) << "another name";
  settings.verify_certificate = false;
  EXPECT_EQ(ask(settings, "alice", "alice secret").result, Result::success) << "it does listen there";
}

TEST_F(LdapBackendTest, NoOtherAuthoritiesThanThoseConfigured) {
  // What /etc/ldap/ldap.conf might say.
  const std::string theirs = slapd_->certificate("ca.pem");
  const int client = 0;
  ASSERT_EQ(ldap_set_option(nullptr, LDAP_OPT_X_TLS_CACERTFILE, theirs.c_str()), 0);
  ASSERT_EQ(ldap_set_option(nullptr, LDAP_OPT_X_TLS_NEWCTX, &client), 0);
  auto settings = slapd_->settings();
  settings.urls = {slapd_->secure_url()};
  settings.ca_file = "/nonexistent/ca.pem";  // gone, or being replaced
  EXPECT_EQ(ask(settings, "alice", "alice secret").result, Result::backend_error);
  ldap_set_option(nullptr, LDAP_OPT_X_TLS_CACERTFILE, nullptr);
  ldap_set_option(nullptr, LDAP_OPT_X_TLS_NEWCTX, &client);
}

TEST_F(LdapBackendTest, AWrongServicePasswordIsAnOutage) {
  auto settings = slapd_->settings();
  settings.bind_password = "wrong";
  const Answer answer = ask(settings, "alice", "alice secret");
  EXPECT_EQ(answer.result, Result::backend_error);
  EXPECT_NE(answer.detail.find("cn=gateway"), std::string::npos) << answer.detail;
  EXPECT_EQ(answer.detail.find("secret"), std::string::npos) << "a secret in " << answer.detail;
}

TEST_F(LdapBackendTest, FailsOverAndComesBack) {
  auto settings = slapd_->settings();
  settings.urls = {"ldap://127.0.0.1:" + std::to_string(testing::free_port()), slapd_->url()};
  LdapDirectory directory(settings);
  const auto asker = directory.asker();
  EXPECT_EQ(ask(*asker, "alice", "alice secret").result, Result::success);
  EXPECT_EQ(directory.order(Clock::now()), (std::vector<std::size_t>{1, 0})) << "the dead one is avoided";
  EXPECT_EQ(directory.order(Clock::now() + 31s), (std::vector<std::size_t>{0, 1})) << "but not for ever";
  const auto probe = asker->probe(Clock::now() + 5s);
  ASSERT_FALSE(probe.has_value());
  EXPECT_NE(probe.error().find(slapd_->url() + ": ok"), std::string::npos) << probe.error();
}

TEST(LdapBackendFaults, SurvivesARestartHangsAndOutages) {
  Slapd first;
  const Slapd second;
  auto settings = first.settings();
  settings.limits.connect_timeout_ms = 500;
  LdapDirectory directory(settings);
  const auto asker = directory.asker();
  const auto ask = [](Asker& a, std::chrono::milliseconds within) {
    Query query;
    query.login = "alice";
    query.secret = smtp::Secret("alice secret");
    return a.ask(query, Clock::now() + within);
  };
  ASSERT_EQ(ask(*asker, 10s).result, Result::success);
  EXPECT_EQ(asker->probe(Clock::now() + 10s).value(), first.url() + ": ok");

  first.stop();
  first.start();
  EXPECT_EQ(ask(*asker, 10s).result, Result::success) << "kept connections died; they are opened anew";

  first.hang();
  auto begun = Clock::now();
  EXPECT_EQ(ask(*asker, 1s).result, Result::backend_error);
  EXPECT_LT(Clock::now() - begun, 3s) << "a hung server held us past the deadline";

  auto both = settings;
  both.urls.push_back(second.url());
  LdapDirectory redundant(both);
  const auto redundant_asker = redundant.asker();
  begun = Clock::now();
  EXPECT_EQ(ask(*redundant_asker, 10s).result, Result::success) << "over to the second";
  EXPECT_LT(Clock::now() - begun, 9s);
  begun = Clock::now();
  EXPECT_EQ(ask(*redundant_asker, 10s).result, Result::success);
  EXPECT_LT(Clock::now() - begun, 2s) << "the hung one is avoided now";
  first.go_on();

  first.stop();
  EXPECT_EQ(ask(*asker, 2s).result, Result::backend_error);
  first.start();
  EXPECT_EQ(ask(*asker, 10s).result, Result::success);
}

TEST(LdapBackendFaults, TheServiceAnswersManyThreadsFromARealDirectory) {
  const Slapd slapd;
  Settings settings;
  settings.backends = {BackendKind::ldap};
  settings.ldap = slapd.settings();
  settings.cache.ttl_seconds = 0;
  const auto workers = testing::workers();
  Service service(settings, nullptr, {}, workers);
  std::atomic<int> right = 0;
  std::atomic<int> answered = 0;
  for (int i = 0; i < 200; ++i) {
    const bool good = i % 2 == 0;
    service.authenticate(testing::request("alice", good ? "alice secret" : "wrong " + std::to_string(i % 3)),
                         [&, good](const Outcome& outcome) {
                           // Five wrong ones lock the account in this directory.
                           const bool as_expected =
                               good ? outcome.result == Result::success || outcome.result == Result::disabled
                                    : outcome.result == Result::bad_credentials ||
                                          outcome.result == Result::disabled;
                           if (as_expected) ++right;
                           ++answered;
                         });
  }
  while (answered < 200) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(right, 200);
}

}  // namespace
}  // namespace portcullis::auth
