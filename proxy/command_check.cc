#include "proxy/command_check.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "proxy/certificates.h"
#include "proxy/command_config.h"
#include "proxy/config/descriptors.h"
#include "proxy/config/reference.h"
#include "proxy/config/relay_words.h"
#include "proxy/net/tls_context.h"
#include "proxy/probe.h"

namespace portcullis {
namespace {

struct Arguments {
  std::string config = default_config_path;
  std::string print_keys;
  std::string as;
  bool probe = false;
};

bool probe_all(const config::Config& config) {
  bool good = true;
  for (const ProbeLine& line : probe(config)) {
    good = good && line.ok;
    fmt::print("{}: {}\n", line.ok ? "ok" : "FAILED", line.text);
  }
  return good;
}

void print(const config::Problem& problem) { fmt::print(stderr, "{}\n", config::to_string(problem)); }

// From here on this process may read what the service may read.
void become(const std::string& name) {
  const auto failed = [&](const std::string& why) {
    fmt::print(stderr, "portcullis check: --as {}: {}\n", name, why);
    throw CLI::RuntimeError(EX_NOPERM);
  };
  const passwd* user = getpwnam(name.c_str());  // NOLINT: no threads
  if (user == nullptr) failed("there is no such user on this machine");
  if (user->pw_uid == geteuid()) return;
  if (geteuid() != 0) failed("only root can look as another user");
  if (initgroups(name.c_str(), user->pw_gid) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0) {
    failed(std::strerror(errno));
  }
}

// Where the service writes.
void check_writable(const std::string& path, const config::Config& config, std::vector<std::string>& errors) {
  const auto look = [&](const std::string& file, const char* key) {
    if (file.empty()) return;
    const std::filesystem::path parent = std::filesystem::path(file).parent_path();
    const std::string directory = parent.empty() ? "." : parent.string();
    const bool there = access(file.c_str(), F_OK) == 0;
    if (access(directory.c_str(), W_OK | X_OK) == 0 && (!there || access(file.c_str(), W_OK) == 0)) return;
    errors.push_back(
        fmt::format("{}: error: {}: {} cannot be written by this user", path, key, there ? file : directory));
  };
  look(config.state_path, "state.path");
  if (config.journal.sink == metrics::JournalSettings::Sink::file) look(config.journal.path, "journal.path");
}

// What only the TLS library finds: a curve that it does not know, a list of ciphers.
void check_contexts(const std::string& path, const config::Config& config, std::vector<std::string>& errors) {
  for (const config::Upstream& upstream : config.upstreams) {
    if (const auto tls = net::ClientTls::make(upstream); !tls) {
      errors.push_back(fmt::format("{}: error: upstream \"{}\": {}", path, upstream.name, tls.error()));
    }
  }
  if (config.tls.certificates.empty()) return;
  if (const auto tls = net::ServerTls::make(config.tls, nullptr); !tls) {
    errors.push_back(fmt::format("{}: error: {}", path, tls.error()));
  }
}

// The limits of this process, which may not be those of the service (LimitNOFILE of the unit).
void check_descriptors(const std::string& path, const config::Config& config) {
  const std::uint64_t limit = config::descriptor_hard_limit();
  if (const std::string error = config::descriptor_error(config, limit); !error.empty()) {
    fmt::print(stderr, "{}: warning: {}\n", path, error);
  } else if (const std::string warning = config::descriptor_warning(config, limit); !warning.empty()) {
    fmt::print(stderr, "{}: warning: {}\n", path, warning);
  }
}

void run(const Arguments& arguments) {
  if (!arguments.print_keys.empty()) {
    fmt::print("{}", arguments.print_keys == "man" ? config::reference_man() : config::reference_markdown());
    return;
  }
  if (!arguments.as.empty()) become(arguments.as);
  const config::Loaded loaded = load_with_certificates(arguments.config);
  for (const config::Problem& problem : loaded.problems) print(problem);
  if (!loaded.config) throw CLI::RuntimeError(EX_CONFIG);
  const auto& config = loaded.config;
  std::vector<std::string> errors;
  check_contexts(arguments.config, *config, errors);
  if (!arguments.as.empty()) check_writable(arguments.config, *config, errors);
  for (const std::string& error : errors) fmt::print(stderr, "{}\n", error);
  if (!errors.empty()) throw CLI::RuntimeError(EX_CONFIG);
  check_descriptors(arguments.config, *config);
  fmt::print("{}: ok\n", arguments.config);
  for (const std::string& line : config::relay_in_words(*config)) fmt::print("{}\n", line);
  if (arguments.probe && !probe_all(*config)) throw CLI::RuntimeError(EX_UNAVAILABLE);
}

}  // namespace

void add_check_command(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* const command = app.add_subcommand("check", "Check a configuration and report every problem");
  command->add_option("-c,--config", arguments->config, "The configuration")->capture_default_str();
  command->add_flag("--probe", arguments->probe, "Also connect to backends and upstreams");
  command->add_option("--as", arguments->as, "Check as this user, the service's: what it may read and write");
  command->add_option("--print-keys", arguments->print_keys, "Print the reference of all keys instead")
      ->check(CLI::IsMember({"markdown", "man"}));
  command->callback([arguments] { run(*arguments); });
}

}  // namespace portcullis
