#include "proxy/command_explain.h"

#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/memory_counters.h"
#include "proxy/auth/user_file.h"
#include "proxy/command_config.h"
#include "proxy/config/explain.h"
#include "proxy/state/sqlite_store.h"

namespace portcullis {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string config = default_config_path;
  std::string login;
  std::vector<std::string> addresses, groups;
  std::optional<std::string> reverse_path;
  config::Question question;
};

[[noreturn]] void fail(int code, const std::string& text) {
  fmt::print(stderr, "portcullis explain: {}\n", text);
  throw CLI::RuntimeError(code);
}

class Directory {
 public:
  Directory() {
    std::string pattern = (fs::temp_directory_path() / "portcullis-explain-XXXXXX").string();
    if (mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~Directory() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// What the gateway has counted, as last written. Its file is its own while it runs: a copy is read,
// the log of changes first, so that no change is in neither.
void load_state(const config::Config& config, policy::MemoryCounters& counters, policy::Lockout& lockout) {
  if (config.state_path.empty() || !fs::exists(config.state_path)) return;
  const Directory scratch;
  const fs::path copy = scratch.path() / "state";
  std::error_code error;
  const std::string log = config.state_path + "-wal";
  if (fs::exists(log, error)) fs::copy_file(log, copy.string() + "-wal", error);
  if (!error) fs::copy_file(config.state_path, copy, error);
  if (error) {
    fmt::print(stderr, "{}: can not be read ({}); rates are shown as if nothing had been sent yet\n",
               config.state_path, error.message());
    return;
  }
  const auto store = state::SqliteStore::open({.path = copy.string()}, counters, &lockout);
  if (!store) {
    fmt::print(stderr, "{}; rates are shown as if nothing had been sent yet\n", store.error());
  } else if (!(*store)->damage().empty()) {
    fmt::print(stderr, "{} is damaged; rates are shown as if nothing had been sent yet\n", config.state_path);
  }
}

// What the user file says about the login, where there is one; LDAP and IMAP would ask for a password.
// Returns the reply to AUTH when no backend can accept the login, else an empty text.
std::string add_from_user_file(const config::Config& config, policy::Account& account) {
  const auto& backends = config.auth.backends;
  if (backends.empty()) return "503 5.5.1 at AUTH: no authentication backend is configured";
  if (std::find(backends.begin(), backends.end(), auth::BackendKind::file) == backends.end()) return {};
  const std::string& path = config.auth.file.path;
  std::ifstream stream(path, std::ios::binary);
  if (!stream.is_open()) fail(EX_NOINPUT, fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  for (const auth::UserEntry& entry : auth::parse_user_file(text).entries) {
    if (entry.login != account.login) continue;
    const policy::Account found = auth::account_of(entry);
    account.backend = found.backend;
    account.addresses.insert(account.addresses.end(), found.addresses.begin(), found.addresses.end());
    account.patterns.insert(account.patterns.end(), found.patterns.begin(), found.patterns.end());
    account.groups.insert(account.groups.end(), found.groups.begin(), found.groups.end());
    return {};
  }
  // Another backend may have the account.
  if (backends.size() > 1) return {};
  return fmt::format("535 5.7.8 at AUTH: {} has no account {}", path, account.login);
}

// The account of --login, and whether AUTH would accept the login.
policy::Account account_of(const config::Config& config, Arguments& arguments) {
  policy::Account account;
  const auto login = policy::canonical_login(arguments.login);
  if (!login) fail(EX_USAGE, "\"" + arguments.login + "\" can not be a login");
  account.login = *login;
  for (const std::string& address : arguments.addresses) {
    auto owned = policy::AddressPattern::parse(address);
    if (!owned) fail(EX_USAGE, "\"" + address + "\" is not an address");
    account.patterns.push_back(*std::move(owned));
  }
  for (const std::string& group : arguments.groups) {
    const auto canonical = policy::canonical_login(group);
    if (!canonical) fail(EX_USAGE, "\"" + group + "\" can not be a group");
    account.groups.push_back(*canonical);
  }
  arguments.question.login_refusal = add_from_user_file(config, account);
  return account;
}

void run(Arguments& arguments) {
  config::Question& question = arguments.question;
  question.message = arguments.reverse_path.has_value();
  if (question.message == question.recipients.empty()) fail(EX_USAGE, "--from and --to are needed together");
  if (!question.message && arguments.login.empty()) fail(EX_USAGE, "--from and --to, or --login, are needed");
  question.reverse_path = arguments.reverse_path.value_or("");
  const auto config = load_or_exit(arguments.config);
  if (!arguments.login.empty()) arguments.question.account = account_of(*config, arguments);
  policy::MemoryCounters counters(config->policy.rate_keys_max);
  policy::Lockout lockout(config->auth.lockout);
  load_state(*config, counters, lockout);
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const auto report = config::explain(*config, arguments.question, counters, lockout, now);
  if (!report) fail(EX_USAGE, report.error());
  fmt::print("{}", *report);
}

}  // namespace

void add_explain_command(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  config::Question& question = arguments->question;
  CLI::App* const command =
      app.add_subcommand("explain", "Show what the gateway would do with a message, or with a login");
  command->add_option("-c,--config", arguments->config, "The configuration")->capture_default_str();
  command->add_option("--listener", question.listener, "Name of the listener; without: the first");
  command->add_option("--client", question.client, "The client's address")->capture_default_str();
  command->add_option("--login", arguments->login, "The login; without: no AUTH");
  command->add_option("--owns", arguments->addresses,
                      "An address the login owns, as LDAP would tell; repeatable");
  command->add_option("--group", arguments->groups, "A group of the login, as LDAP would tell; repeatable");
  command->add_option("--from", arguments->reverse_path, "The reverse-path; empty for <>; with --to");
  command->add_option("--to", question.recipients, "A recipient; repeatable; with --from");
  command->add_option("--header-from", question.header_from, "The From field; without: the reverse-path");
  command->add_option("--sender", question.sender, "The Sender field");
  command->add_option("--size", question.octets, "Octets of the message");
  command->add_option("--attachments", question.attachments, "Attachments of the message");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace portcullis
