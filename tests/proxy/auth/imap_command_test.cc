#include "proxy/auth/imap_command.h"

#include <gtest/gtest.h>

#include "proxy/auth/imap_backend.h"
#include "smtp/base64.h"

namespace portcullis::auth {
namespace {

using smtp::Mechanism;
using Pieces = std::vector<std::string>;

Pieces pieces(Mechanism mechanism, std::string_view login, std::string_view secret,
              const ImapCapabilities& can = {}) {
  const auto command = login_command("t", mechanism, login, secret, can);
  return command ? command->pieces : Pieces{"none"};
}

TEST(ImapCommand, LoginQuotesOrUsesLiterals) {
  EXPECT_EQ(pieces(Mechanism::plain, "alice", "secret"), Pieces{"t LOGIN \"alice\" \"secret\"\r\n"});
  EXPECT_EQ(pieces(Mechanism::login, "al\"i\\ce", " {5}"), Pieces{"t LOGIN \"al\\\"i\\\\ce\" \" {5}\"\r\n"});
  EXPECT_EQ(pieces(Mechanism::plain, "alice", "s\xc3\xb6"),
            (Pieces{"t LOGIN \"alice\" {3}\r\n", "s\xc3\xb6\r\n"}));
  EXPECT_EQ(pieces(Mechanism::plain, "\xc3\xb6", "\xc3\xa4"),
            (Pieces{"t LOGIN {2}\r\n", "\xc3\xb6 {2}\r\n", "\xc3\xa4\r\n"}));
  EXPECT_EQ(pieces(Mechanism::plain, "a\tb", "x"), (Pieces{"t LOGIN {3}\r\n", "a\tb \"x\"\r\n"}));
  const std::string longer(1001, 'x');
  EXPECT_EQ(pieces(Mechanism::plain, "a", longer), (Pieces{"t LOGIN \"a\" {1001}\r\n", longer + "\r\n"}));
  EXPECT_EQ(pieces(Mechanism::plain, "", ""), Pieces{"t LOGIN \"\" \"\"\r\n"});
}

TEST(ImapCommand, NothingCanEndACommand) {
  for (const std::string_view evil : {std::string_view("a\r\nt2 DELETE INBOX"), std::string_view("a\n"),
                                      std::string_view("a\r"), std::string_view("a\0b", 3)}) {
    for (const Mechanism mechanism : {Mechanism::plain, Mechanism::login, Mechanism::xoauth2,
                                      Mechanism::oauthbearer, Mechanism::external}) {
      for (const bool plain : {false, true}) {
        ImapCapabilities can;
        can.auth_plain = plain;
        EXPECT_EQ(pieces(mechanism, evil, "x", can), Pieces{"none"});
        EXPECT_EQ(pieces(mechanism, "x", evil, can), Pieces{"none"});
      }
    }
  }
  EXPECT_EQ(pieces(Mechanism::xoauth2, "alice\1auth=Bearer other", "token"), Pieces{"none"});
  EXPECT_EQ(pieces(Mechanism::oauthbearer, "alice", "to\1ken"), Pieces{"none"});
}

TEST(ImapCommand, AuthenticateWithAndWithoutInitialResponse) {
  ImapCapabilities can;
  can.auth_plain = true;
  const std::string response = smtp::encode_base64(std::string_view("\0alice\0secret", 13));
  EXPECT_EQ(pieces(Mechanism::plain, "alice", "secret", can),
            (Pieces{"t AUTHENTICATE PLAIN\r\n", response + "\r\n"}));
  can.sasl_ir = true;
  EXPECT_EQ(pieces(Mechanism::login, "alice", "secret", can),
            Pieces{"t AUTHENTICATE PLAIN " + response + "\r\n"});
}

TEST(ImapCommand, OauthResponses) {
  ImapCapabilities can;
  can.sasl_ir = true;
  const auto xoauth2 = login_command("t", Mechanism::xoauth2, "a@b", "tok", can);
  ASSERT_TRUE(xoauth2);
  EXPECT_EQ(xoauth2->pieces, Pieces{"t AUTHENTICATE XOAUTH2 " +
                                    smtp::encode_base64("user=a@b\1auth=Bearer tok\1\1") + "\r\n"});
  EXPECT_EQ(xoauth2->last_word, "\r\n");
  const auto bearer = login_command("t", Mechanism::oauthbearer, "a,=b", "tok", can);
  ASSERT_TRUE(bearer);
  EXPECT_EQ(bearer->pieces, Pieces{"t AUTHENTICATE OAUTHBEARER " +
                                   smtp::encode_base64("n,a=a=2C=3Db,\1auth=Bearer tok\1\1") + "\r\n"});
  EXPECT_EQ(bearer->last_word, "AQ==\r\n");
}

TEST(ImapServerName, HostAndPort) {
  const auto show = [](const char* text) {
    const auto parsed = parse_host_port(text, 993);
    return parsed ? parsed->host + " " + std::to_string(parsed->port) : std::string("error");
  };
  EXPECT_EQ(show("imap.example.com"), "imap.example.com 993");
  EXPECT_EQ(show("imap.example.com:143"), "imap.example.com 143");
  EXPECT_EQ(show("[2001:db8::1]:143"), "2001:db8::1 143");
  EXPECT_EQ(show("[::1]"), "::1 993");
  for (const char* bad : {"", ":143", "a:", "a:0", "a:65536", "a:1x", "::1", "[::1", "[::1]143", "a:-1"}) {
    EXPECT_EQ(show(bad), "error") << bad;
  }
}

TEST(ImapServerName, DomainsAreStrippedAndAppendedSafely) {
  const auto show = [](const ImapBackend& settings, const char* login) {
    const auto name = imap_name(settings, login);
    if (!name) return std::string("none");
    std::string text = name->login + " is " + name->account.login;
    for (const std::string& address : name->account.addresses) text += " owns " + address;
    return text;
  };
  ImapBackend settings;
  EXPECT_EQ(show(settings, "alice"), "alice is alice");
  EXPECT_EQ(show(settings, "alice@example.com"), "alice@example.com is alice@example.com");
  settings.append_domain = "Example.com";
  EXPECT_EQ(show(settings, "alice"), "alice is alice owns alice@example.com");
  EXPECT_EQ(show(settings, "alice@other.example"), "alice@other.example is alice@other.example");
  settings.strip_domain = true;
  EXPECT_EQ(show(settings, "alice"), "alice is alice@example.com owns alice@example.com");
  EXPECT_EQ(show(settings, "alice@example.com"), "alice is alice@example.com owns alice@example.com");
  EXPECT_EQ(show(settings, "alice@other.example"), "none") << "the server never saw that domain";
  EXPECT_EQ(show(settings, "@example.com"), "none");
  settings.append_domain.clear();
  EXPECT_EQ(show(settings, "alice@example.com"), "none");
  EXPECT_EQ(show(settings, "alice"), "alice is alice");
}

// A server that ignores the domain of a login would make alice@anything a new account each time.
TEST(ImapServerName, OnlyLoginsOfItsDomains) {
  const auto show = [](const ImapBackend& settings, const char* login) {
    const auto name = imap_name(settings, login);
    if (!name) return std::string("none");
    return name->login + " counts as " + std::string(name->account.counted_as());
  };
  ImapBackend settings;
  EXPECT_EQ(show(settings, "alice@anything.example"),
            "alice@anything.example counts as alice@anything.example");
  settings.domains = {"example.com"};
  EXPECT_EQ(show(settings, "alice@example.com"), "alice@example.com counts as alice@example.com");
  EXPECT_EQ(show(settings, "alice"), "alice counts as alice@example.com");
  for (const char* const other :
       {"alice@anything.example", "alice@sub.example.com", "alice@xexample.com", "alice@"}) {
    EXPECT_EQ(show(settings, other), "none") << other;
  }
  settings.domains = {"example.com", "*.example.org"};
  EXPECT_EQ(show(settings, "alice@a.example.org"), "alice@a.example.org counts as alice@a.example.org");
  EXPECT_EQ(show(settings, "alice"), "alice counts as alice");
  settings.append_domain = "example.net";
  EXPECT_EQ(show(settings, "alice"), "alice counts as alice@example.net");
  EXPECT_EQ(show(settings, "alice@example.net"), "alice@example.net counts as alice@example.net");
  EXPECT_EQ(show(settings, "alice@example.edu"), "none");
  EXPECT_EQ(ImapServer(settings).guessed_login("alice"), "alice@example.net");
}

}  // namespace
}  // namespace portcullis::auth
