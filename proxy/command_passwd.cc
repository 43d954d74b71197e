#include "proxy/command_passwd.h"

#include <fcntl.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "proxy/auth/user_file_edit.h"
#include "smtp/sasl.h"

namespace portcullis {

namespace {

constexpr std::size_t password_octets_max = 512;

struct Options {
  std::string file = "/etc/portcullis/users";
  std::string login;
  std::vector<std::string> addresses;
  std::vector<std::string> groups;
  bool from_stdin = false;
  bool keep_password = false;
};

[[noreturn]] void fail(int code, const std::string& text) {
  std::fprintf(stderr, "portcullis passwd: %s\n", text.c_str());
  throw CLI::RuntimeError(code);
}

void check(const std::expected<void, auth::EditError>& done) {
  if (done) return;
  using Kind = auth::EditError::Kind;
  switch (done.error().kind) {
    case Kind::invalid:
      fail(EX_DATAERR, done.error().text);
    case Kind::exists:
      fail(EX_CANTCREAT, done.error().text);
    case Kind::no_such_user:
      fail(EX_NOUSER, done.error().text);
    case Kind::broken_file:
      fail(EX_CONFIG, done.error().text);
    case Kind::io:
      fail(EX_IOERR, done.error().text);
  }
}

// One line without its LF; wiped by whoever holds the Secret.
smtp::Secret read_line(int fd) {
  std::string line;
  line.reserve(password_octets_max + 1);  // never moved: no copy stays behind
  char c = 0;
  for (;;) {
    const ssize_t n = ::read(fd, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || c == '\n') break;
    if (line.size() == password_octets_max) {
      smtp::wipe(line);
      fail(EX_DATAERR, "the password is too long");
    }
    line += c;
  }
  smtp::Secret secret{line};
  smtp::wipe(line);
  return secret;
}

// Turns the terminal's echo off while it lives.
class NoEcho {
 public:
  explicit NoEcho(int fd) : fd_(fd) {
    if (::tcgetattr(fd_, &before_) != 0) fail(EX_NOINPUT, "the terminal can not be switched to no echo");
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    if (::tcsetattr(fd_, TCSAFLUSH, &quiet) != 0) {
      fail(EX_NOINPUT, "the terminal can not be switched to no echo");
    }
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;
  ~NoEcho() { ::tcsetattr(fd_, TCSAFLUSH, &before_); }

 private:
  int fd_;
  termios before_{};
};

// Echo goes off before the prompt appears: who types fast shows nothing and loses nothing.
smtp::Secret ask_terminal(std::FILE* terminal, const char* prompt) {
  smtp::Secret secret;
  {
    const NoEcho quiet(::fileno(terminal));
    std::fputs(prompt, terminal);
    std::fflush(terminal);
    secret = read_line(::fileno(terminal));
  }
  std::fputs("\n", terminal);
  std::fflush(terminal);
  return secret;
}

smtp::Secret read_password(const Options& options, bool twice) {
  if (options.from_stdin) return read_line(STDIN_FILENO);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> terminal(std::fopen("/dev/tty", "r+"), std::fclose);
  if (!terminal) fail(EX_NOINPUT, "no terminal to ask for the password; use --stdin");
  smtp::Secret password = ask_terminal(terminal.get(), "Password: ");
  if (twice && ask_terminal(terminal.get(), "Again: ").view() != password.view()) {
    fail(EX_DATAERR, "the two passwords differ");
  }
  return password;
}

void add(const Options& options) {
  const smtp::Secret password = read_password(options, true);
  check(auth::add_user(
      options.file, options.login,
      {.password = password.view(), .addresses = options.addresses, .groups = options.groups}));
}

void set(const Options& options, bool addresses, bool groups) {
  auth::UserChange change;
  if (addresses) change.addresses = options.addresses;
  if (groups) change.groups = options.groups;
  smtp::Secret password;
  if (!options.keep_password) {
    password = read_password(options, true);
    change.password = password.view();
  }
  check(auth::set_user(options.file, options.login, change));
}

void list(const Options& options) {
  const auto entries = auth::list_users(options.file);
  if (!entries) return check(std::unexpected(entries.error()));
  const auto join = [](const std::vector<std::string>& values) {
    std::string text;
    for (const std::string& value : values) text += (text.empty() ? "" : ",") + value;
    return text;
  };
  for (const auth::UserEntry& entry : *entries) {
    std::printf("%s\t%s\t%s\n", entry.login.c_str(), join(entry.addresses).c_str(),
                join(entry.groups).c_str());
  }
}

void verify(const Options& options) {
  const smtp::Secret password = read_password(options, false);
  const auto right = auth::check_user(options.file, options.login, password.view());
  if (!right) return check(std::unexpected(right.error()));
  if (!*right) fail(1, "wrong login or password");
}

}  // namespace

void add_passwd_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* passwd =
      app.add_subcommand("passwd", "Keep the user file: accounts, passwords, addresses, groups");
  passwd->require_subcommand(1);

  const auto command = [&](const char* name, const char* text, bool login) {
    CLI::App* sub = passwd->add_subcommand(name, text);
    sub->add_option("--file", options->file, "The user file")->capture_default_str();
    if (login) sub->add_option("login", options->login, "Login, e.g. alice@example.com")->required();
    return sub;
  };
  const auto lists = [&](CLI::App* sub) {
    sub->add_option("--addresses", options->addresses, "Addresses owned besides the login, comma-separated")
        ->delimiter(',');
    sub->add_option("--groups", options->groups, "Groups, comma-separated")->delimiter(',');
  };
  const auto password = [&](CLI::App* sub) {
    sub->add_flag("--stdin", options->from_stdin, "Read the password from the first line of standard input");
  };

  CLI::App* add_command = command("add", "Add an account", true);
  lists(add_command);
  password(add_command);
  add_command->callback([options] { add(*options); });

  CLI::App* set_command = command("set", "Change an account's password, addresses or groups", true);
  lists(set_command);
  password(set_command);
  set_command->add_flag("--keep-password", options->keep_password, "Change addresses or groups only");
  set_command->callback([options, set_command] {
    set(*options, set_command->count("--addresses") > 0, set_command->count("--groups") > 0);
  });

  command("remove", "Remove an account", true)->callback([options] {
    check(auth::remove_user(options->file, options->login));
  });
  command("list", "List accounts: login, addresses, groups, tab-separated", false)->callback([options] {
    list(*options);
  });
  CLI::App* verify_command = command("verify", "Check a password; exit status 1 when it is wrong", true);
  password(verify_command);
  verify_command->callback([options] { verify(*options); });
}

}  // namespace portcullis
