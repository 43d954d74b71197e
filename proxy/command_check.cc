#include "proxy/command_check.h"

#include <fmt/format.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "proxy/command_config.h"
#include "proxy/config/descriptors.h"
#include "proxy/config/reference.h"
#include "proxy/net/tls_context.h"
#include "proxy/probe.h"

namespace portcullis {
namespace {

struct Arguments {
  std::string config = default_config_path;
  std::string print_keys;
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

constexpr std::chrono::days expires_soon{14};

// What only the TLS library can tell: whether certificates and keys are what they should be.
void check_certificates(const std::string& path, const config::Config& config) {
  std::vector<std::string> errors;
  for (const config::Upstream& upstream : config.upstreams) {
    if (const auto tls = net::ClientTls::make(upstream); !tls) errors.push_back(tls.error());
  }
  if (!config.tls.certificates.empty()) {
    const auto tls = net::ServerTls::make(config.tls, nullptr);
    if (!tls) errors.push_back(tls.error());
    const auto now = std::chrono::system_clock::now();
    for (const auto& certificate : tls ? (*tls)->certificates() : std::vector<net::CertificateFacts>{}) {
      if (certificate.not_after - now > expires_soon) continue;
      const auto days = std::chrono::floor<std::chrono::days>(certificate.not_after - now).count();
      fmt::print(stderr, "{}: warning: {} {}\n", path, certificate.file,
                 days < 0 ? "has expired" : fmt::format("expires in {} days", days));
    }
  }
  for (const std::string& error : errors) fmt::print(stderr, "{}: error: {}\n", path, error);
  if (!errors.empty()) throw CLI::RuntimeError(EX_CONFIG);
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
  const auto config = load_or_exit(arguments.config);
  check_certificates(arguments.config, *config);
  check_descriptors(arguments.config, *config);
  fmt::print("{}: ok\n", arguments.config);
  if (arguments.probe && !probe_all(*config)) throw CLI::RuntimeError(EX_UNAVAILABLE);
}

}  // namespace

void add_check_command(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* const command = app.add_subcommand("check", "Say everything that is wrong with a configuration");
  command->add_option("-c,--config", arguments->config, "The configuration")->capture_default_str();
  command->add_flag("--probe", arguments->probe, "Also connect to backends and upstreams");
  command->add_option("--print-keys", arguments->print_keys, "Print the reference of all keys instead")
      ->check(CLI::IsMember({"markdown", "man"}));
  command->callback([arguments] { run(*arguments); });
}

}  // namespace portcullis
