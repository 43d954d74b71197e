// The IMAP backend against a real Dovecot.
#include "proxy/auth/imap_backend.h"

#include <gtest/gtest.h>

#include "proxy/auth/imap_login.h"
#include "tests/proxy/auth/dovecot.h"
#include "tests/proxy/auth/fake_backend.h"

namespace portcullis::auth {
namespace {

using namespace std::chrono_literals;
using smtp::Mechanism;
using testing::Dovecot;

class ImapBackendTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { dovecot_ = new Dovecot; }
  static void TearDownTestSuite() {
    delete dovecot_;
    dovecot_ = nullptr;
  }
  static Answer ask(const ImapBackend& settings, const std::string& login, std::string_view secret,
                    Mechanism mechanism = Mechanism::plain) {
    ImapServer server(settings);
    Query query;
    query.login = login;
    query.mechanism = mechanism;
    query.secret = smtp::Secret(secret);
    return server.asker()->ask(query, Clock::now() + 20s);
  }
  static Dovecot* dovecot_;
};
Dovecot* ImapBackendTest::dovecot_ = nullptr;

TEST_F(ImapBackendTest, LogsInOverEveryKindOfConnection) {
  for (const ConnectionTls tls : {ConnectionTls::implicit, ConnectionTls::starttls, ConnectionTls::off}) {
    const auto settings = dovecot_->settings(tls);
    const Answer good = ask(settings, "alice@example.com", "alice secret");
    EXPECT_EQ(good.result, Result::success) << good.detail;
    EXPECT_EQ(good.account.login, "alice@example.com");
    EXPECT_EQ(good.account.backend, "imap");
    const Answer wrong = ask(settings, "alice@example.com", "wrong");
    const Answer unknown = ask(settings, "nobody@example.com", "wrong");
    EXPECT_EQ(wrong.result, Result::bad_credentials) << wrong.detail;
    EXPECT_EQ(unknown.result, Result::bad_credentials) << unknown.detail;
    EXPECT_EQ(wrong.detail, unknown.detail);
  }
}

TEST_F(ImapBackendTest, StrangeLoginsAndPasswordsArriveUnchanged) {
  const auto settings = dovecot_->settings(ConnectionTls::implicit);
  EXPECT_EQ(ask(settings, "bob", "b\xc3\xb6\x62 \"secret\" \\ {5}").result, Result::success);
  EXPECT_EQ(ask(settings, "odd \"user\" \\ {3}", "odd secret").result, Result::success);
  EXPECT_EQ(ask(settings, "bob", "x\" y z {5}").result, Result::bad_credentials);
  EXPECT_EQ(ask(settings, "bob", "x\r\np9 LOGOUT").result, Result::bad_credentials);
}

// Dovecot closes the connection on a line that is too long for it: no reason to ask it no more.
TEST_F(ImapBackendTest, ALongPasswordIsNoOutageOfTheServer) {
  const auto settings = dovecot_->settings(ConnectionTls::implicit);
  for (const std::size_t octets : {1000U, 5000U, 8192U}) {
    const Answer answer = ask(settings, "alice@example.com", std::string(octets, 'x'));
    EXPECT_TRUE(answer.result == Result::bad_credentials || answer.is_of_login) << answer.detail;
  }
}

// Dovecot always offers AUTH=PLAIN; the LOGIN command of servers that do not is tried by not looking.
TEST_F(ImapBackendTest, TheLoginCommandToo) {
  const auto settings = dovecot_->settings(ConnectionTls::off);
  const auto by_login = [&](const std::string& login, std::string_view secret) {
    const auto server = parse_host_port(settings.server, 0).value();
    const auto deadline = Clock::now() + 20s;
    auto stream = SocketStream::connect(server.host, server.port, deadline).value();
    ImapLogin conversation(stream, nullptr, server.host, deadline);
    auto capabilities = conversation.greet().value();
    capabilities.auth_plain = false;
    Query query;
    query.secret = smtp::Secret(secret);
    return conversation.log_in(capabilities, login, query).result;
  };
  EXPECT_EQ(by_login("alice@example.com", "alice secret"), Result::success);
  EXPECT_EQ(by_login("bob", "b\xc3\xb6\x62 \"secret\" \\ {5}"), Result::success) << "a literal";
  EXPECT_EQ(by_login("odd \"user\" \\ {3}", "odd secret"), Result::success) << "quoted";
  EXPECT_EQ(by_login("alice@example.com", "wrong"), Result::bad_credentials);
  EXPECT_EQ(by_login("alice@example.com", "b\xc3\xb6"), Result::bad_credentials);
}

TEST_F(ImapBackendTest, BearerTokens) {
  const auto settings = dovecot_->settings(ConnectionTls::implicit);
  for (const Mechanism mechanism : {Mechanism::xoauth2, Mechanism::oauthbearer}) {
    const Answer good = ask(settings, "alice@example.com", dovecot_->token("alice@example.com"), mechanism);
    EXPECT_EQ(good.result, Result::success) << good.detail;
    EXPECT_EQ(good.account.login, "alice@example.com");
    EXPECT_EQ(ask(settings, "alice@example.com", "no token", mechanism).result, Result::bad_credentials);
    EXPECT_EQ(
        ask(settings, "alice@example.com", dovecot_->token("alice@example.com", true), mechanism).result,
        Result::bad_credentials)
        << "expired";
    EXPECT_EQ(ask(settings, "alice@example.com", dovecot_->token("bob"), mechanism).result,
              Result::bad_credentials)
        << "somebody else's";
  }
}

TEST_F(ImapBackendTest, TlsIsVerified) {
  for (const ConnectionTls tls : {ConnectionTls::implicit, ConnectionTls::starttls}) {
    auto settings = dovecot_->settings(tls);
    settings.ca_file = dovecot_->certificate("other-ca.pem");
    const Answer unknown = ask(settings, "alice@example.com", "alice secret");
    EXPECT_EQ(unknown.result, Result::backend_error);
    EXPECT_NE(unknown.detail.find("certificate"), std::string::npos) << unknown.detail;
    settings.ca_file.clear();
    EXPECT_EQ(ask(settings, "alice@example.com", "alice secret").result, Result::backend_error)
        << "system's CAs";
    settings.verify_certificate = false;
    EXPECT_EQ(ask(settings, "alice@example.com", "alice secret").result, Result::success)
        << "told not to verify";
    settings = dovecot_->settings(tls);
    settings.server.replace(0, 9, "127.0.0.1");
    EXPECT_EQ(ask(settings, "alice@example.com", "alice secret").result, Result::success) << "by its address";
    settings.ca_file = dovecot_->certificate("no such file");
    EXPECT_EQ(ask(settings, "alice@example.com", "alice secret").result, Result::backend_error);
  }
  const Dovecot elsewhere("ssl_cert = <DIR/wrong.pem\nssl_key = <DIR/wrong.key\n");
  const Answer other = ask(elsewhere.settings(ConnectionTls::implicit), "alice@example.com", "alice secret");
  EXPECT_EQ(other.result, Result::backend_error) << "a certificate for another name";
}

TEST_F(ImapBackendTest, AnOutageIsNoWrongPassword) {
  Dovecot own;
  const auto settings = own.settings(ConnectionTls::implicit);
  own.break_database();
  const Answer broken = ask(settings, "alice@example.com", "alice secret");
  EXPECT_EQ(broken.result, Result::backend_error) << broken.detail;
  EXPECT_NE(broken.detail.find("UNAVAILABLE"), std::string::npos) << broken.detail;
  own.stop();
  EXPECT_EQ(ask(settings, "alice@example.com", "alice secret").result, Result::backend_error);
}

TEST_F(ImapBackendTest, NoPasswordGoesWhereTheServerForbidsIt) {
  const Dovecot strict("ssl = required\n");
  auto without_tls = strict.settings(ConnectionTls::off);
  without_tls.server.replace(0, 9, "127.0.0.2");  // Dovecot trusts clients that have its own address
  const Answer plain = ask(without_tls, "alice@example.com", "alice secret");
  EXPECT_EQ(plain.result, Result::backend_error);
  EXPECT_NE(plain.detail.find("LOGINDISABLED"), std::string::npos) << plain.detail;
  EXPECT_EQ(ask(strict.settings(ConnectionTls::starttls), "alice@example.com", "alice secret").result,
            Result::success);
  const Dovecot none("ssl = no\nservice imap-login {\n inet_listener imaps {\n ssl = no\n }\n}\n");
  EXPECT_EQ(ask(none.settings(ConnectionTls::starttls), "alice@example.com", "alice secret").result,
            Result::backend_error)
      << "STARTTLS was not offered";
}

TEST_F(ImapBackendTest, Probes) {
  ImapServer server(dovecot_->settings(ConnectionTls::implicit));
  const auto said = server.asker()->probe(Clock::now() + 10s);
  ASSERT_TRUE(said.has_value()) << said.error();
  EXPECT_NE(said->find("PLAIN, XOAUTH2, OAUTHBEARER"), std::string::npos) << *said;
}

TEST_F(ImapBackendTest, BehindTheService) {
  Settings settings;
  settings.backends = {BackendKind::imap};
  settings.imap = dovecot_->settings(ConnectionTls::starttls);
  const auto workers = testing::workers();
  Service service(settings, nullptr, {}, workers);
  EXPECT_EQ(service.mechanisms(),
            smtp::mech_plain | smtp::mech_login | smtp::mech_xoauth2 | smtp::mech_oauthbearer);
  EXPECT_EQ(testing::ask(service, testing::request("Alice@Example.com", "alice secret")).result,
            Result::success);
  const auto token = dovecot_->token("alice@example.com");
  EXPECT_EQ(testing::ask(service, testing::request("alice@example.com", token, Mechanism::xoauth2)).result,
            Result::success);
  EXPECT_TRUE(testing::ask(service, testing::request("alice@example.com", token, Mechanism::xoauth2)).cached);
  EXPECT_FALSE(testing::ask(service, testing::request("alice@example.com", token)).cached)
      << "a token is no password";
}

}  // namespace
}  // namespace portcullis::auth
