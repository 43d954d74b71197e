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
  std::chrono::milliseconds never_{3600'000};
};

TEST_F(UserFileBackendTest, AnswersFromTheFile) {
  write("alice@example.com:" + hash_ + ":sales@example.com:staff\n");
  UserFileBackend backend(path_, trouble_, never_);
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
  UserFileBackend missing(path_, trouble_, never_);
  EXPECT_EQ(ask(missing, "alice", "secret").result, Result::backend_error);
  EXPECT_FALSE(missing.asker()->probe({}).has_value());
  ASSERT_EQ(troubles_.size(), 1U);
  EXPECT_NE(troubles_[0].find("No such file"), std::string::npos);
  write("alice\n");
  UserFileBackend broken(path_, trouble_, never_);
  EXPECT_EQ(ask(broken, "alice", "secret").result, Result::backend_error);
  EXPECT_NE(troubles_.at(1).find("users:1:6: expected"), std::string::npos) << troubles_[1];
}

TEST_F(UserFileBackendTest, ABrokenNewFileKeepsTheOld) {
  write("alice:" + hash_ + "\n");
  UserFileBackend backend(path_, trouble_, never_);
  const auto generation = backend.generation();
  write("alice:" + hash_ + "\nbroken\nworse\n");
  backend.look();
  backend.look();
  EXPECT_EQ(troubles_.size(), 1U) << "said once for each version";
  EXPECT_EQ(ask(backend, "alice", "secret").result, Result::success);
  EXPECT_FALSE(backend.asker()->probe({}).has_value());
  EXPECT_EQ(backend.generation(), generation);
  std::filesystem::remove(path_);
  backend.look();
  EXPECT_EQ(troubles_.size(), 2U);
  EXPECT_EQ(ask(backend, "alice", "secret").result, Result::success);
  write("bob:" + hash_ + "\n");
  backend.look();
  EXPECT_EQ(ask(backend, "alice", "secret").result, Result::bad_credentials);
  EXPECT_EQ(ask(backend, "bob", "secret").result, Result::success);
  EXPECT_NE(backend.generation(), generation);
  EXPECT_EQ(backend.problem(), "");
}

TEST_F(UserFileBackendTest, ANewConfigurationGoesOnWithTheOldAccounts) {
  write("alice:" + hash_ + "\n");
  Settings settings;
  settings.backends = {BackendKind::file};
  settings.file.path = path_;
  const Service before(settings, nullptr, {});
  write("alice:" + hash_ + "\nbroken\n");
  Service after(settings, nullptr, {}, &before);
  EXPECT_EQ(testing::ask(after, request("alice", "secret")).result, Result::success);
  settings.file.path = dir_.path() + "/others";
  Service other(settings, nullptr, {}, &before);
  EXPECT_EQ(testing::ask(other, request("alice", "secret")).result, Result::backend_error)
      << "of another file";
}

TEST_F(UserFileBackendTest, WhatIsNoFileIsAnOutage) {
  std::filesystem::create_directory(path_);
  UserFileBackend backend(path_, trouble_, never_);
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
  UserFileBackend backend(path_, trouble_, never_);
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
  UserFileBackend backend(path_, trouble_, never_);
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
  Service service(settings, nullptr, {});
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
