#include "proxy/auth/user_file_backend.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <vector>

#include "proxy/auth/password_hash.h"
#include "proxy/auth/service.h"
#include "proxy/auth/user_file_edit.h"
#include "proxy/auth/workers.h"
#include "tests/proxy/auth/fake_backend.h"
#include "tests/proxy/auth/temp_dir.h"

namespace portcullis::auth {
namespace {

using testing::request;

double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

class UserFileBackendTest : public ::testing::Test {
 protected:
  void write(const std::string& text) {
    std::ofstream file(path_, std::ios::binary | std::ios::trunc);
    file << text;
  }
  Answer ask(UserFileBackend& backend, std::string login, std::string_view password) {
    Query query;
    query.login = std::move(login);
    query.secret = smtp::Secret(password);
    return backend.asker()->ask(query, Clock::now() + std::chrono::seconds(10));
  }

  testing::TempDir dir_;
  std::string path_ = dir_.path() + "/users";
  const std::string hash_ = hash_password("secret").value();
  std::vector<std::string> troubles_;
  std::function<void(const std::string&)> trouble_ = [this](const std::string& text) {
    troubles_.push_back(text);
  };
};

TEST_F(UserFileBackendTest, AnswersFromTheFile) {
  write("alice@example.com:" + hash_ + ":sales@example.com:staff\n");
  UserFileBackend backend(path_, trouble_);
  const Answer good = ask(backend, "alice@example.com", "secret");
  EXPECT_EQ(good.result, Result::success);
  EXPECT_EQ(good.account.login, "alice@example.com");
  EXPECT_EQ(good.account.addresses, std::vector<std::string>{"sales@example.com"});
  EXPECT_EQ(good.account.groups, std::vector<std::string>{"staff"});
  EXPECT_EQ(good.account.backend, "file");
  EXPECT_EQ(ask(backend, "alice@example.com", "Secret").result, Result::bad_credentials);
  EXPECT_EQ(ask(backend, "bob", "secret").result, Result::bad_credentials);
  EXPECT_EQ(backend.asker()->probe({}).value(), "1 accounts");
  EXPECT_TRUE(troubles_.empty());
}

TEST_F(UserFileBackendTest, NoUsableFileIsAnOutageNotABadPassword) {
  UserFileBackend missing(path_, trouble_);
  EXPECT_EQ(ask(missing, "alice", "secret").result, Result::backend_error);
  EXPECT_FALSE(missing.asker()->probe({}).has_value());
  ASSERT_EQ(troubles_.size(), 1U);
  EXPECT_NE(troubles_[0].find("No such file"), std::string::npos);
  write("alice\n");
  UserFileBackend broken(path_, trouble_);
  EXPECT_EQ(ask(broken, "alice", "secret").result, Result::backend_error);
  EXPECT_NE(troubles_.at(1).find("users:1:6: expected"), std::string::npos) << troubles_[1];
}

TEST_F(UserFileBackendTest, ABrokenLineIsSkippedAndNamed) {
  write("alice:" + hash_ + "\nbob:" + hash_ + ":bob@example.com\n");
  UserFileBackend backend(path_, trouble_);
  const auto generation = backend.generation();
  write("alice:" + hash_ + "\nbob:plain-secret\nworse\ncarol:" + hash_ + "\ndave:x\n");
  backend.look();
  backend.look();
  ASSERT_EQ(troubles_.size(), 1U) << "said once for each version";
  EXPECT_NE(troubles_[0].find("users:2:5: "), std::string::npos) << troubles_[0];
  EXPECT_NE(troubles_[0].find("users:3:6: "), std::string::npos) << troubles_[0];
  EXPECT_EQ(troubles_[0].find("plain-secret"), std::string::npos) << "a secret in the journal";
  EXPECT_EQ(troubles_[0].find("$y$"), std::string::npos) << "a hash in the journal";
  EXPECT_EQ(ask(backend, "alice", "secret").result, Result::success);
  EXPECT_EQ(ask(backend, "carol", "secret").result, Result::success) << "the new account";
  EXPECT_EQ(ask(backend, "bob", "secret").result, Result::success) << "whose line is broken, as before";
  EXPECT_EQ(ask(backend, "dave", "secret").result, Result::backend_error)
      << "never wrong, for a typing error";
  EXPECT_FALSE(backend.asker()->probe({}).has_value());
  EXPECT_NE(backend.generation(), generation);
  std::filesystem::remove(path_);
  backend.look();
  EXPECT_EQ(troubles_.size(), 2U);
  EXPECT_EQ(ask(backend, "alice", "secret").result, Result::success);
  write("bob:" + hash_ + "\n");
  backend.look();
  EXPECT_EQ(ask(backend, "alice", "secret").result, Result::bad_credentials);
  EXPECT_EQ(ask(backend, "bob", "secret").result, Result::success);
  EXPECT_EQ(backend.problem(), "");
}

// What a script that opened the file with ">" and a full disk leave behind.
TEST_F(UserFileBackendTest, AnEmptyOrCutFileIsNotUsed) {
  const std::string full = "# people\nalice:" + hash_ + "\nbob:" + hash_ + "\ncarol:" + hash_ + "\n";
  const std::size_t in_bob = full.find("bob") + 2;
  const std::string files[] = {"",
                               "\n",
                               "# people\n",
                               "# peo",
                               full.substr(0, in_bob),
                               full.substr(0, full.find("lice") + 20),
                               "# people\nx\n"};
  for (const std::string& text : files) {
    write(full);
    troubles_.clear();
    UserFileBackend backend(path_, trouble_);
    write(text);
    backend.look();
    EXPECT_EQ(ask(backend, "carol", "secret").result, Result::success) << text;
    EXPECT_EQ(troubles_.size(), 1U) << text;
    EXPECT_FALSE(backend.problem().empty()) << text;
    UserFileBackend at_start(path_, trouble_);
    EXPECT_NE(ask(at_start, "carol", "secret").result, Result::success) << text;
    if (text.find("alice:") == std::string::npos) {
      EXPECT_EQ(ask(at_start, "carol", "secret").result, Result::backend_error) << text;
    }
  }
}

TEST_F(UserFileBackendTest, AFileWithoutAccountsMayBeMeantSo) {
  write("alice:" + hash_ + "\n");
  UserFileBackend backend(path_, trouble_);
  ASSERT_TRUE(remove_user(path_, "alice"));
  backend.look();
  EXPECT_EQ(ask(backend, "alice", "secret").result, Result::bad_credentials);
  EXPECT_TRUE(troubles_.empty());
  ASSERT_TRUE(add_user(path_, "bob", {.password = "secret"}));
  backend.look();
  EXPECT_EQ(ask(backend, "bob", "secret").result, Result::success);
  write("");
  backend.look();
  EXPECT_EQ(ask(backend, "bob", "secret").result, Result::success);
}

TEST_F(UserFileBackendTest, ALockedAccountIsDisabled) {
  write("alice:!" + hash_ + "\nbob:!\ncarol:*\ndave:*LK*\nerin:!!" + hash_ + "\nfrank:" + hash_ + "\n");
  UserFileBackend backend(path_, trouble_);
  EXPECT_TRUE(troubles_.empty());
  for (const char* login : {"alice", "bob", "carol", "dave", "erin"}) {
    EXPECT_EQ(ask(backend, login, "secret").result, Result::disabled) << login;
  }
  EXPECT_EQ(ask(backend, "alice", "wrong").result, Result::bad_credentials) << "tells a guesser nothing";
  EXPECT_EQ(ask(backend, "frank", "secret").result, Result::success);
}

TEST_F(UserFileBackendTest, AnEditOfOneLineIsOneAccountsAffair) {
  write("alice:" + hash_ + ":sales@example.com\nbob:" + hash_ + "\ncarol:" + hash_ + "\n");
  UserFileBackend backend(path_, trouble_);
  const auto before = backend.accounts();
  const std::uint64_t alice = backend.version_of("alice");
  const std::uint64_t bob = backend.version_of("bob");
  EXPECT_NE(alice, 0U);
  EXPECT_EQ(backend.version_of("nobody"), 0U);
  policy::Account account = ask(backend, "alice", "secret").account;
  EXPECT_EQ(account.version, alice);
  EXPECT_EQ(backend.look_again(account), AccountState::unchanged);

  write("# moved by a line\nalice:" + hash_ + ":office@example.com:staff\nbob:" + hash_ + "\n");
  backend.look();
  EXPECT_NE(backend.version_of("alice"), alice);
  EXPECT_EQ(backend.version_of("bob"), bob);
  EXPECT_EQ(backend.accounts()->find("bob"), before->find("bob")) << "the same object, not a copy";
  EXPECT_EQ(backend.look_again(account), AccountState::changed);
  EXPECT_EQ(account.addresses, std::vector<std::string>{"office@example.com"});
  EXPECT_EQ(account.groups, std::vector<std::string>{"staff"});
  EXPECT_EQ(backend.look_again(account), AccountState::unchanged);
  policy::Account carol{"carol", {}, {}, "file", before->find("carol")->version};
  EXPECT_EQ(backend.look_again(carol), AccountState::gone) << "removed";

  write("alice:!" + hash_ + ":office@example.com:staff\nbob:" + hash_password("another").value() + "\n");
  backend.look();
  EXPECT_EQ(backend.look_again(account), AccountState::gone) << "locked";
  policy::Account old_bob{"bob", {}, {}, "file", bob};
  EXPECT_EQ(backend.look_again(old_bob), AccountState::gone) << "another password";
}

TEST_F(UserFileBackendTest, CachedLoginsOfOtherLinesSurviveAnEditAndAReload) {
  write("alice:" + hash_ + "\nbob:" + hash_ + "\n");
  Settings settings;
  settings.backends = {BackendKind::file};
  settings.file.path = path_;
  const auto workers = testing::workers();
  const auto service = std::make_shared<Service>(settings, nullptr, Observer{}, workers);
  EXPECT_EQ(testing::ask(*service, request("alice", "secret")).result, Result::success);
  EXPECT_EQ(testing::ask(*service, request("bob", "secret")).result, Result::success);
  const auto generation = service->generation();
  write("alice:" + hash_ + "\nbob:" + hash_ + ":b@example.com\n");
  service->look();
  EXPECT_NE(service->generation(), generation);
  EXPECT_TRUE(testing::ask(*service, request("alice", "secret")).cached);
  EXPECT_FALSE(testing::ask(*service, request("bob", "secret")).cached);
  EXPECT_TRUE(service->serves(settings)) << "a reload goes on with the same service";
  settings.cache.ttl_seconds = 7;
  EXPECT_FALSE(service->serves(settings));
  const Service other(settings, nullptr, Observer{}, workers, service.get());
  EXPECT_NE(other.generation(), service->generation());
  settings.backends = {};
  EXPECT_FALSE(service->serves(settings));
}

TEST_F(UserFileBackendTest, ANewConfigurationGoesOnWithTheOldAccounts) {
  write("alice:" + hash_ + "\n");
  Settings settings;
  settings.backends = {BackendKind::file};
  settings.file.path = path_;
  const auto workers = testing::workers();
  const Service before(settings, nullptr, {}, workers);
  write("");
  settings.cache.ttl_seconds = 7;
  Service after(settings, nullptr, {}, workers, &before);
  EXPECT_EQ(testing::ask(after, request("alice", "secret")).result, Result::success);
  settings.file.path = dir_.path() + "/others";
  Service other(settings, nullptr, {}, workers, &before);
  EXPECT_EQ(testing::ask(other, request("alice", "secret")).result, Result::backend_error)
      << "of another file";
}

TEST_F(UserFileBackendTest, WhatIsNoFileIsAnOutage) {
  std::filesystem::create_directory(path_);
  UserFileBackend backend(path_, trouble_);
  EXPECT_EQ(ask(backend, "alice", "secret").result, Result::backend_error);
  std::filesystem::remove(path_);
  write("alice:" + hash_ + "\n");
  backend.look();
  EXPECT_EQ(ask(backend, "alice", "secret").result, Result::success);
  // In a running gateway, under the feet of the thread that looks.
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  backend.look();
  EXPECT_EQ(ask(backend, "alice", "secret").result, Result::success) << "the old accounts stay";
  EXPECT_EQ(troubles_.size(), 2U);
}

TEST_F(UserFileBackendTest, AFileThatCouldNotBeReadIsTriedAgain) {
  write("alice:" + hash_ + "\nbob:" + hash_ + "\n");
  UserFileBackend backend(path_, trouble_);
  write("alice:" + hash_ + "\n");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  backend.look();
  backend.look();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(troubles_.size(), 1U) << "said once";
  backend.look();
  EXPECT_EQ(ask(backend, "bob", "secret").result, Result::bad_credentials) << "removed";
  EXPECT_EQ(backend.problem(), "");
}

TEST_F(UserFileBackendTest, AnUnknownLoginCostsAsMuchAsAWrongPassword) {
  write("alice:" + hash_ + "\n");
  UserFileBackend backend(path_, trouble_);
  // In processor time: what else the machine does must not matter.
  const auto best_of = [&](const char* login) {
    double best = 1e9;
    for (int i = 0; i < 7; ++i) {
      const double begun = thread_seconds();
      EXPECT_EQ(ask(backend, login, "wrong").result, Result::bad_credentials);
      best = std::min(best, thread_seconds() - begun);
    }
    return best;
  };
  const double known = best_of("alice");
  const double unknown = best_of("nobody");
  EXPECT_GT(known, 0.001) << "yescrypt did not run at all";
  EXPECT_NEAR(unknown / known, 1.0, 0.5);
}

TEST_F(UserFileBackendTest, TheServiceSeesAnEditWithinTwoSecondsCacheOrNot) {
  ASSERT_TRUE(add_user(path_, "alice", {.password = "secret"}));
  Settings settings;
  settings.backends = {BackendKind::file};
  settings.file.path = path_;
  const auto workers = testing::workers();
  Service service(settings, nullptr, {}, workers);
  EXPECT_EQ(service.mechanisms(), testing::password_mechanisms);
  EXPECT_TRUE(service.probe().at(0).ok);
  EXPECT_EQ(testing::ask(service, request("alice", "secret")).result, Result::success);
  EXPECT_TRUE(testing::ask(service, request("alice", "secret")).cached);
  ASSERT_TRUE(remove_user(path_, "alice"));
  const auto begun = Clock::now();
  Result result = Result::success;
  while (result == Result::success && Clock::now() - begun < std::chrono::seconds(10)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    result = testing::ask(service, request("alice", "secret")).result;
  }
  EXPECT_EQ(result, Result::bad_credentials);
  EXPECT_LT(Clock::now() - begun, std::chrono::seconds(3));
}

}  // namespace
}  // namespace portcullis::auth
