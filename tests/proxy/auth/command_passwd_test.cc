#include "proxy/command_passwd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "proxy/auth/user_file_edit.h"
#include "tests/proxy/auth/temp_dir.h"

namespace portcullis {
namespace {

int run(std::vector<std::string> arguments) {
  CLI::App app;
  add_passwd_command(app);
  std::ranges::reverse(arguments);  // CLI11 takes a vector from its end
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  return 0;
}

// Runs with `input` as standard input.
int run_with(const std::string& input, const std::vector<std::string>& arguments) {
  int ends[2];
  if (::pipe(ends) != 0) return -1;
  if (::write(ends[1], input.data(), input.size()) != static_cast<ssize_t>(input.size())) return -1;
  ::close(ends[1]);
  const int saved = ::dup(0);
  ::dup2(ends[0], 0);
  ::close(ends[0]);
  const int code = run(arguments);
  ::dup2(saved, 0);
  ::close(saved);
  return code;
}

class CommandPasswd : public ::testing::Test {
 protected:
  auth::testing::TempDir dir_;
  std::string file_ = dir_.path() + "/users";
};

TEST_F(CommandPasswd, KeepsTheFile) {
  EXPECT_EQ(run_with("secret\n", {"passwd", "add", "--file", file_, "--stdin", "--addresses",
                                  "a@example.com,b@example.com", "--groups", "staff", "alice@example.com"}),
            0);
  const auto users = auth::list_users(file_);
  ASSERT_TRUE(users);
  EXPECT_EQ(users->at(0).addresses, (std::vector<std::string>{"a@example.com", "b@example.com"}));
  EXPECT_EQ(users->at(0).groups, std::vector<std::string>{"staff"});
  EXPECT_EQ(run_with("secret", {"passwd", "verify", "--file", file_, "--stdin", "alice@example.com"}), 0);
  EXPECT_EQ(run_with("Secret\n", {"passwd", "verify", "--file", file_, "--stdin", "alice@example.com"}), 1);
  EXPECT_EQ(run_with("new one\n", {"passwd", "set", "--file", file_, "--stdin", "alice@example.com"}), 0);
  EXPECT_EQ(run_with("new one\n", {"passwd", "verify", "--file", file_, "--stdin", "alice@example.com"}), 0);
  EXPECT_EQ(
      run({"passwd", "set", "--file", file_, "--keep-password", "--groups", "x,y", "alice@example.com"}), 0);
  EXPECT_EQ(auth::list_users(file_)->at(0).groups, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(run_with("new one\n", {"passwd", "verify", "--file", file_, "--stdin", "alice@example.com"}), 0);
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(run({"passwd", "list", "--file", file_}), 0);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(),
            "alice@example.com\ta@example.com,b@example.com\tx,y\n");
  EXPECT_EQ(run({"passwd", "remove", "--file", file_, "alice@example.com"}), 0);
}

TEST_F(CommandPasswd, SaysWhatIsWrongByItsExitCode) {
  EXPECT_EQ(run({"passwd", "list", "--file", file_}), EX_IOERR);
  EXPECT_EQ(run_with("\n", {"passwd", "add", "--file", file_, "--stdin", "alice"}), EX_DATAERR);
  EXPECT_EQ(run_with(std::string(600, 'x'), {"passwd", "add", "--file", file_, "--stdin", "alice"}),
            EX_DATAERR);
  EXPECT_EQ(run_with("x", {"passwd", "add", "--file", file_, "--stdin", "alice"}), 0);
  EXPECT_EQ(run_with("x", {"passwd", "add", "--file", file_, "--stdin", "alice"}), EX_CANTCREAT);
  EXPECT_EQ(run({"passwd", "remove", "--file", file_, "bob"}), EX_NOUSER);
  EXPECT_NE(run({"passwd", "add", "--file", file_}), 0) << "no login";
  EXPECT_NE(run({"passwd"}), 0) << "no command";
}

// Reads what a terminal shows until `text` appears.
std::string read_until(int terminal, const std::string& text) {
  std::string shown;
  pollfd waiting{.fd = terminal, .events = POLLIN, .revents = 0};
  char c = 0;
  while (shown.find(text) == std::string::npos && ::poll(&waiting, 1, 10000) > 0 &&
         ::read(terminal, &c, 1) == 1) {
    shown += c;
  }
  return shown;
}

TEST_F(CommandPasswd, AsksTheTerminalTwiceAndShowsNoPassword) {
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (child == 0) {
    ::alarm(20);
    ::_exit(run({"passwd", "add", "--file", file_, "alice"}));
  }
  ASSERT_GT(child, 0);
  std::string shown = read_until(terminal, "Password: ");
  ASSERT_EQ(::write(terminal, "hidden\n", 7), 7);
  shown += read_until(terminal, "Again: ");
  ASSERT_EQ(::write(terminal, "hidden\n", 7), 7);
  shown += read_until(terminal, "no such text");
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ::close(terminal);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << shown;
  EXPECT_EQ(shown.find("hidden"), std::string::npos) << shown;
  EXPECT_TRUE(auth::check_user(file_, "alice", "hidden").value());
}

}  // namespace
}  // namespace portcullis
