// The LDAP backend against a directory that plays a script.
#include <gtest/gtest.h>

#include <future>

#include "proxy/auth/backend_pool.h"
#include "proxy/auth/backends.h"
#include "proxy/auth/ldap_backend.h"
#include "tests/proxy/auth/fake_backend.h"
#include "tests/proxy/auth/scripted_directory.h"

namespace portcullis::auth {
namespace {

using namespace std::chrono_literals;
using namespace testing;
using Connection = ScriptedDirectory::Connection;

constexpr std::uint8_t success_code = 0;
constexpr std::uint8_t invalid_credentials = 49;

std::shared_ptr<Query> query(const std::string& login = "alice") {
  auto made = std::make_shared<Query>();
  made->login = login;
  made->secret = smtp::Secret("secret");
  return made;
}

Answer ask(BackendPool& pool) {
  auto promise = std::make_shared<std::promise<Answer>>();
  auto future = promise->get_future();
  pool.submit({query(), {}, {}}, [promise](Answer answer) { promise->set_value(std::move(answer)); });
  if (future.wait_for(10s) != std::future_status::ready) throw std::runtime_error("no answer");
  return future.get();
}

// A directory that dies, or whose packets are lost, in the middle of an answer.
TEST(LdapFault, HalfAnAnswerCostsNoThread) {
  ScriptedDirectory server([](Connection& client) {
    while (const auto request = client.next()) {
      if (client.number() < 2) {
        client.say(done(*request, invalid_credentials).substr(0, client.number() == 0 ? 1 : 5));
        return client.hold();
      }
      client.say(done(*request, invalid_credentials));
    }
  });
  auto settings = server.settings();
  settings.limits.connections_max = 1;
  settings.limits.deadline_ms = 1000;
  const auto workers = testing::workers(1);
  const auto pool = std::make_shared<BackendPool>(make_ldap_backend(settings), settings.limits,
                                                  BackendPool::Events{}, workers);
  ask(*pool);
  EXPECT_EQ(ask(*pool).result, Result::bad_credentials) << "the one thread there is asks again";
}

TEST(LdapFault, NorDoesHalfAnAnswerToStartTls) {
  constexpr std::uint8_t protocol_error = 2;
  ScriptedDirectory server([](Connection& client) {
    const auto request = client.next();
    if (!request) return;
    const std::string refusal = done(*request, protocol_error);
    client.say(client.number() == 0 ? refusal.substr(0, 5) : refusal);
    client.hold();
  });
  auto settings = server.settings();
  settings.starttls = true;
  settings.limits.connections_max = 1;
  settings.limits.connect_timeout_ms = 300;
  settings.limits.deadline_ms = 1000;
  const auto workers = testing::workers(1);
  const auto pool = std::make_shared<BackendPool>(make_ldap_backend(settings), settings.limits,
                                                  BackendPool::Events{}, workers);
  ask(*pool);
  const std::string said = ask(*pool).detail;
  EXPECT_NE(said.find("Protocol error"), std::string::npos) << said;
}

// Nobody holds a server to the number of entries that was asked for.
TEST(LdapFault, EntriesWithoutEndAreCutOff) {
  std::atomic<std::uint64_t> sent = 0;
  ScriptedDirectory server([&sent](Connection& client) {
    while (const auto request = client.next()) {
      if (request->operation == bind_request) {
        client.say(done(*request, success_code));
        continue;
      }
      const std::string one = entry(*request, "uid=alice,dc=example,dc=com", "mail", std::string(60000, 'x'));
      while (client.say(one)) sent += one.size();
    }
  });
  auto settings = server.settings();
  settings.dn_template.clear();
  settings.filter = "(uid={login})";
  LdapDirectory directory(settings);
  const Answer answer = directory.asker()->ask(*query(), Clock::now() + 3s);
  EXPECT_EQ(answer.result, Result::backend_error);
  EXPECT_LT(sent, 64U * 1024 * 1024);
}

// The entry is the user's to read. A new connection is nobody's: what it sees of the entry may be less, or
// more.
TEST(LdapFault, NothingIsReadAsNobodyWhenTheUsersConnectionIsLost) {
  std::atomic<int> read_as_nobody = 0;
  ScriptedDirectory server([&](Connection& client) {
    bool bound = false;
    while (const auto request = client.next()) {
      if (request->operation == bind_request) {
        bound = true;
        client.say(done(*request, success_code));
      } else if (client.number() == 0) {
        return;
      } else {
        if (!bound) ++read_as_nobody;
        client.say(entry(*request, "uid=alice,dc=example,dc=com", "mail", "alice@example.com") +
                   done(*request, success_code));
      }
    }
  });
  LdapDirectory directory(server.settings());
  const auto asker = directory.asker();
  EXPECT_EQ(asker->ask(*query(), Clock::now() + 5s).result, Result::backend_error);
  EXPECT_EQ(read_as_nobody, 0);
  EXPECT_EQ(asker->ask(*query(), Clock::now() + 5s).result, Result::success)
      << "the next login is whole again";
  EXPECT_EQ(read_as_nobody, 0);
}

}  // namespace
}  // namespace portcullis::auth
