// The IMAP backend against a server that plays a script: faults that no real server has on demand.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>
#include <thread>
#include <vector>

#include "proxy/auth/imap_backend.h"
#include "tests/proxy/auth/fake_backend.h"

namespace portcullis::auth {
namespace {

using namespace std::chrono_literals;

// Says one line after another: each but the first when a whole line came in. Then closes, or holds on.
class ScriptedServer {
 public:
  explicit ScriptedServer(std::vector<std::string> lines, bool hold = false)
      : lines_(std::move(lines)), hold_(hold), fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(fd_, 5) != 0) {
      throw std::runtime_error("can not listen");
    }
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;
  ~ScriptedServer() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }
  ImapBackend settings(ConnectionTls tls = ConnectionTls::off) const {
    ImapBackend settings;
    settings.server = "127.0.0.1:" + std::to_string(port_);
    settings.tls = tls;
    settings.verify_certificate = false;
    return settings;
  }
  // What the client said; after it is gone.
  std::string heard() {
    while (!done_) std::this_thread::sleep_for(1ms);
    return heard_;
  }

 private:
  void serve() {
    const int client = ::accept(fd_, nullptr, nullptr);
    if (client >= 0) {
      std::size_t line = 0;
      bool more = true;
      for (; more && line < lines_.size(); ++line) {
        if (line > 0) more = read_line(client);
        if (more) ::send(client, lines_[line].data(), lines_[line].size(), MSG_NOSIGNAL);
      }
      while (hold_ && read_line(client)) {
      }
      ::close(client);
    }
    done_ = true;
  }
  bool read_line(int client) {
    char c = 0;
    while (::recv(client, &c, 1, 0) == 1) {
      heard_ += c;
      if (c == '\n') return true;
    }
    return false;
  }

  std::vector<std::string> lines_;
  bool hold_;
  int fd_;
  std::uint16_t port_ = 0;
  std::string heard_;
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

Answer ask(const ImapBackend& settings, smtp::Mechanism mechanism = smtp::Mechanism::plain,
           std::chrono::milliseconds within = 10s) {
  ImapServer server(settings);
  Query query;
  query.login = "alice";
  query.mechanism = mechanism;
  query.secret = smtp::Secret("secret");
  return server.asker()->ask(query, Clock::now() + within);
}

const std::string greeting = "* OK ready\r\n";
const std::string can =
    "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR AUTH=XOAUTH2 AUTH=OAUTHBEARER STARTTLS\r\np1 OK\r\n";

struct Fault {
  const char* name;
  std::vector<std::string> lines;
  Result expected;
};

class ImapFaults : public ::testing::TestWithParam<Fault> {};

TEST_P(ImapFaults, HaveTheirResult) {
  const ScriptedServer server(GetParam().lines);
  const Answer answer = ask(server.settings());
  EXPECT_EQ(answer.result, GetParam().expected) << answer.detail;
  EXPECT_EQ(answer.detail.find("secret"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Imap, ImapFaults,
    ::testing::Values(
        Fault{"success", {greeting, can, "p2 OK in\r\n"}, Result::success},
        Fault{"expired", {greeting, can, "p2 NO [EXPIRED] change it\r\n"}, Result::password_expired},
        Fault{"unavailable", {greeting, can, "p2 NO [UNAVAILABLE] later\r\n"}, Result::backend_error},
        Fault{"contact_admin", {greeting, can, "p2 NO [CONTACTADMIN] broken\r\n"}, Result::backend_error},
        Fault{"refused", {greeting, can, "p2 NO no\r\n"}, Result::bad_credentials},
        Fault{"bad", {greeting, can, "p2 BAD what\r\n"}, Result::backend_error},
        Fault{"bye_instead_of_an_answer", {greeting, can, "* BYE shutting down\r\n"}, Result::backend_error},
        Fault{"closed_instead_of_an_answer", {greeting, can}, Result::backend_error},
        Fault{"closed_in_the_answer", {greeting, can, "p2 OK"}, Result::backend_error},
        Fault{"bye_as_greeting", {"* BYE full\r\n"}, Result::backend_error},
        Fault{
            "preauth_lets_everybody_in", {"* PREAUTH hello\r\n", can, "p2 OK in\r\n"}, Result::backend_error},
        Fault{"closed_at_once", {""}, Result::backend_error},
        Fault{"smtp", {"220 mx ESMTP\r\n"}, Result::backend_error},
        Fault{"an_answer_before_the_question",
              {greeting + "p2 OK in\r\n", can, "p2 NO no\r\n"},
              Result::backend_error},
        Fault{
            "an_answer_sent_ahead", {greeting, can + "p3 OK in\r\n", "p2 NO no\r\n"}, Result::backend_error},
        Fault{"another_tag", {greeting, can, "p9 OK in\r\n"}, Result::backend_error},
        Fault{"no_capabilities", {greeting, "p1 OK\r\n", "p2 OK in\r\n"}, Result::backend_error},
        Fault{"capability_refused", {greeting, "p1 NO\r\n"}, Result::backend_error},
        Fault{"asks_for_more", {greeting, can, "+ more\r\n", "p2 OK in\r\n"}, Result::backend_error},
        Fault{"bare_lf", {greeting, can, "p2 OK in\n"}, Result::backend_error},
        Fault{"untagged_noise_is_skipped",
              {greeting, can, "* 5 EXISTS\r\n* X {3}\r\nabc\r\np2 OK in\r\n"},
              Result::success},
        Fault{"talks_without_end",
              {greeting, can,
               [] {
                 std::string noise;
                 for (int i = 0; i < 1000; ++i) noise += "* OK noise\r\n";
                 return noise + "p2 OK in\r\n";
               }()},
              Result::backend_error}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(ImapFault, StartTlsCanNotBeStrippedNorInjectedInto) {
  {
    ScriptedServer server({greeting, "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\np1 OK\r\n", "p2 OK\r\n"});
    EXPECT_EQ(ask(server.settings(ConnectionTls::starttls)).result, Result::backend_error);
    EXPECT_EQ(server.heard().find("AUTHENTICATE"), std::string::npos) << "a password in clear";
  }
  {
    ScriptedServer server({greeting, can, "p2 NO not now\r\n", "p3 OK\r\n"});
    EXPECT_EQ(ask(server.settings(ConnectionTls::starttls)).result, Result::backend_error);
    EXPECT_EQ(server.heard().find("AUTHENTICATE"), std::string::npos) << "a password in clear";
  }
  {
    const ScriptedServer server({greeting, can, "p2 OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"});
    const Answer answer = ask(server.settings(ConnectionTls::starttls));
    EXPECT_EQ(answer.result, Result::backend_error);
    EXPECT_NE(answer.detail.find("in clear"), std::string::npos) << answer.detail;
  }
}

// Else five of them, by anybody, would open the circuit breaker for everybody.
TEST(ImapFault, AMechanismThatTheServerDoesNotOfferIsNoOutage) {
  for (const smtp::Mechanism mechanism : {smtp::Mechanism::xoauth2, smtp::Mechanism::oauthbearer}) {
    const ScriptedServer server({greeting, "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\np1 OK\r\n"}, true);
    EXPECT_EQ(ask(server.settings(), mechanism).result, Result::unsupported);
  }
}

TEST(ImapFault, AHungServerCostsTheDeadlineAndNoMore) {
  for (const std::vector<std::string>& lines :
       {std::vector<std::string>{}, {greeting}, {greeting, can}, {greeting, "* CAPABILITY IMAP"}}) {
    const ScriptedServer server(lines, true);
    const auto begun = Clock::now();
    EXPECT_EQ(ask(server.settings(), smtp::Mechanism::plain, 300ms).result, Result::backend_error);
    EXPECT_LT(Clock::now() - begun, 3s);
  }
  const ScriptedServer no_handshake({}, true);
  const auto begun = Clock::now();
  EXPECT_EQ(ask(no_handshake.settings(ConnectionTls::implicit), smtp::Mechanism::plain, 300ms).result,
            Result::backend_error);
  EXPECT_LT(Clock::now() - begun, 3s);
}

TEST(ImapFault, ARefusedTokenHearsItsLastWord) {
  {
    ScriptedServer server(
        {greeting, can, "+ eyJzdGF0dXMiOiI0MDEifQ==\r\n", "p2 NO [AUTHENTICATIONFAILED] no\r\n"});
    EXPECT_EQ(ask(server.settings(), smtp::Mechanism::xoauth2).result, Result::bad_credentials);
    EXPECT_NE(server.heard().find("\r\n\r\n"), std::string::npos);
  }
  {
    ScriptedServer server({greeting, can, "+ eyJzdGF0dXMiOiI0MDEifQ==\r\n", "p2 NO no\r\n"});
    EXPECT_EQ(ask(server.settings(), smtp::Mechanism::oauthbearer).result, Result::bad_credentials);
    EXPECT_NE(server.heard().find("\r\nAQ==\r\n"), std::string::npos);
  }
}

TEST(ImapFault, LiteralsWaitForTheServersLeave) {
  ScriptedServer server({greeting, "* CAPABILITY IMAP4rev1\r\np1 OK\r\n", "p2 NO no literals\r\n"});
  ImapServer backend(server.settings());
  Query query;
  query.login = "alice";
  query.secret = smtp::Secret("s\xc3\xb6");
  EXPECT_EQ(backend.asker()->ask(query, Clock::now() + 10s).result, Result::bad_credentials);
  EXPECT_EQ(server.heard(), "p1 CAPABILITY\r\np2 LOGIN \"alice\" {3}\r\n") << "sent before it was asked for";
}

}  // namespace
}  // namespace portcullis::auth
