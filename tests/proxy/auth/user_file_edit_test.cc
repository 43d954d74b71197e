#include "proxy/auth/user_file_edit.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "tests/proxy/auth/temp_dir.h"

namespace portcullis::auth {
namespace {

using Kind = EditError::Kind;

class UserFileEdit : public ::testing::Test {
 protected:
  std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& content) {
    std::ofstream file(path_, std::ios::binary | std::ios::trunc);
    file << content;
  }
  mode_t mode() const {
    struct stat status{};
    EXPECT_EQ(::stat(path_.c_str(), &status), 0);
    return status.st_mode & 07777;
  }

  testing::TempDir dir_;
  std::string path_ = dir_.path() + "/users";
};

TEST_F(UserFileEdit, TheLifeOfAnAccount) {
  ASSERT_TRUE(add_user(path_, "Alice@Example.com",
                       {.password = "one",
                        .addresses = {{"Sales@example.com", "*@lists.example.com"}},
                        .groups = {{"Staff"}}}));
  EXPECT_EQ(mode(), 0640U);
  ASSERT_TRUE(add_user(path_, "bob", {.password = "two"}));
  auto users = list_users(path_);
  ASSERT_TRUE(users);
  ASSERT_EQ(users->size(), 2U);
  EXPECT_EQ((*users)[0].login, "alice@example.com");
  EXPECT_EQ((*users)[0].addresses, (std::vector<std::string>{"sales@example.com", "*@lists.example.com"}));
  EXPECT_TRUE(check_user(path_, "ALICE@example.com", "one").value());
  EXPECT_FALSE(check_user(path_, "alice@example.com", "two").value());
  EXPECT_FALSE(check_user(path_, "nobody", "one").value());

  ASSERT_TRUE(set_user(path_, "alice@example.com", {.password = "three"}));
  EXPECT_TRUE(check_user(path_, "alice@example.com", "three").value());
  EXPECT_EQ(list_users(path_)->at(0).groups, std::vector<std::string>{"staff"}) << "groups were lost";
  const std::string before = list_users(path_)->at(0).hash;
  ASSERT_TRUE(set_user(path_, "alice@example.com", {.groups = {{"admins", "staff"}}}));
  EXPECT_EQ(list_users(path_)->at(0).hash, before);
  EXPECT_EQ(list_users(path_)->at(0).groups, (std::vector<std::string>{"admins", "staff"}));

  ASSERT_TRUE(remove_user(path_, "alice@example.com"));
  EXPECT_EQ(list_users(path_)->size(), 1U);
  EXPECT_EQ(remove_user(path_, "alice@example.com").error().kind, Kind::no_such_user);
  EXPECT_EQ(set_user(path_, "nobody", {.password = "x"}).error().kind, Kind::no_such_user);
  EXPECT_EQ(add_user(path_, "BOB", {.password = "x"}).error().kind, Kind::exists);
}

TEST_F(UserFileEdit, KeepsCommentsModeAndOtherLines) {
  ASSERT_TRUE(add_user(path_, "bob", {.password = "two"}));
  const std::string bob = text();
  write("# first\n\n" + bob + "# between\n" + "carol" + bob.substr(3) + "# last, without LF");
  ::chmod(path_.c_str(), 0600);
  ASSERT_TRUE(add_user(path_, "alice", {.password = "one"}));
  EXPECT_EQ(mode(), 0600U);
  EXPECT_TRUE(text().starts_with("# first\n\n" + bob + "# between\ncarol" + bob.substr(3) +
                                 "# last, without LF\nalice:"));
  ASSERT_TRUE(remove_user(path_, "alice"));
  ASSERT_TRUE(remove_user(path_, "bob"));
  EXPECT_EQ(text(), "# first\n\n# between\ncarol" + bob.substr(3) + "# last, without LF\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.path()), {}), 1)
      << "something was left behind";
}

TEST_F(UserFileEdit, LeavesABrokenFileAlone) {
  write("alice:plain-text\n");
  EXPECT_EQ(add_user(path_, "bob", {.password = "x"}).error().kind, Kind::broken_file);
  EXPECT_NE(list_users(path_).error().text.find("users:1:7: "), std::string::npos);
  EXPECT_EQ(text(), "alice:plain-text\n");
}

TEST_F(UserFileEdit, RefusesWhatTheFileCouldNotCarry) {
  const char* const logins[] = {"", "a:b", "#a", "a\nb", "a\rb"};
  for (const char* login : logins) {
    EXPECT_EQ(add_user(path_, login, {.password = "x"}).error().kind, Kind::invalid) << login;
  }
  EXPECT_EQ(add_user(path_, "a", {}).error().kind, Kind::invalid);
  EXPECT_EQ(add_user(path_, "a", {.password = ""}).error().kind, Kind::invalid);
  EXPECT_EQ(add_user(path_, "a", {.password = "x", .addresses = {{"\"a,b\"@example.com"}}}).error().kind,
            Kind::invalid);
  EXPECT_EQ(add_user(path_, "a", {.password = "x", .groups = {{"a:b"}}}).error().kind, Kind::invalid);
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_EQ(set_user(path_, "a", {.password = "x"}).error().kind, Kind::io) << "set does not create the file";
}

TEST_F(UserFileEdit, WritesNothingThatCouldNotBeReadAgain) {
  ASSERT_TRUE(add_user(path_, "alice", {.password = "one"}));
  const std::string before = text();
  for (const char* group : {" ", "  "}) {
    EXPECT_EQ(set_user(path_, "alice", {.groups = {{group}}}).error().kind, Kind::invalid);
  }
  std::vector<std::string> many;
  for (int i = 0; i < 1000; ++i) many.push_back("address-" + std::to_string(i) + "@example.com");
  EXPECT_EQ(set_user(path_, "alice", {.addresses = many}).error().kind, Kind::invalid);
  EXPECT_EQ(add_user(path_, "bob", {.password = "two", .addresses = many}).error().kind, Kind::invalid);
  EXPECT_EQ(text(), before);
  EXPECT_TRUE(list_users(path_).has_value());
}

TEST_F(UserFileEdit, ASymbolicLinkStaysOne) {
  const std::string link = dir_.path() + "/link";
  ASSERT_TRUE(add_user(path_, "alice", {.password = "one"}));
  std::filesystem::create_symlink(path_, link);
  ASSERT_TRUE(add_user(link, "bob", {.password = "two"}));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(list_users(path_)->size(), 2U);
}

TEST_F(UserFileEdit, EditorsAtTheSameTimeLoseNothing) {
  constexpr int editors = 4;
  constexpr int each = 5;
  std::vector<std::thread> threads;
  std::atomic<int> failed = 0;
  for (int e = 0; e < editors; ++e) {
    threads.emplace_back([&, e] {
      for (int i = 0; i < each; ++i) {
        const std::string login = "user" + std::to_string(e) + "-" + std::to_string(i);
        if (!add_user(path_, login, {.password = "x"})) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(list_users(path_)->size(), static_cast<std::size_t>(editors * each));
}

}  // namespace
}  // namespace portcullis::auth
