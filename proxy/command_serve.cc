#include "proxy/command_serve.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "policy/memory_counters.h"
#include "proxy/certificates.h"
#include "proxy/config/config.h"
#include "proxy/config/descriptors.h"
#include "proxy/net/gateway.h"
#include "proxy/net/sockets.h"
#include "proxy/state/sqlite_store.h"

namespace portcullis {

namespace {

constexpr int exit_config = 78;       // EX_CONFIG
constexpr int exit_unavailable = 69;  // EX_UNAVAILABLE: a socket, a file, a server

int complain(const std::string& text, int code) {
  std::fprintf(stderr, "portcullis: %s\n", text.c_str());
  return code;
}

// To standard error, from the main loop: whoever reads there may have stopped to, and then signals, probes
// and the watchdog matter more than the rest of the text.
void tell(std::string_view text) {
  constexpr int patience_ms = 1000;
  constexpr std::size_t at_once = 4096;  // what a pipe that poll calls writable takes without blocking
  while (!text.empty()) {
    pollfd poll_fd{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    if (poll(&poll_fd, 1, patience_ms) <= 0) return;
    const ssize_t written = write(STDERR_FILENO, text.data(), std::min(text.size(), at_once));
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::shared_ptr<const config::Config> load_and_tell(const std::string& path) {
  const config::Loaded loaded = load_with_certificates(path);
  std::string text;
  for (const config::Problem& problem : loaded.problems) text += config::to_string(problem) + '\n';
  tell(text);
  return loaded.config;
}

// As many descriptors as the system lets us have: each session takes one, and up to one more upstream.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  const std::string before = std::to_string(limit.rlim_cur);
  limit.rlim_cur = limit.rlim_max;
  // A system call filter may forbid it: then the limit is what it was, and bounds the clients.
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
    tell("portcullis: the limit of open files stays at " + before + ": " + std::strerror(errno) + '\n');
}

// From here on no root: nothing of what clients send is ever read with privileges.
std::string drop_privileges(const config::Config& config) {
  if (config.user.empty() || geteuid() != 0) return {};
  const passwd* user = getpwnam(config.user.c_str());  // NOLINT: no threads yet
  if (user == nullptr) return "user \"" + config.user + "\" does not exist";
  gid_t gid = user->pw_gid;
  if (!config.group.empty()) {
    const group* entry = getgrnam(config.group.c_str());  // NOLINT: no threads yet
    if (entry == nullptr) return "group \"" + config.group + "\" does not exist";
    gid = entry->gr_gid;
  }
  if (initgroups(config.user.c_str(), gid) != 0 || setgid(gid) != 0 || setuid(user->pw_uid) != 0 ||
      setuid(0) == 0) {
    return "can not become user \"" + config.user + "\": " + std::strerror(errno);
  }
  return {};
}

// Passwords pass through this memory (law 6): no core dumps, and nobody but root looks at it. The leak
// sanitizer has to look.
bool keep_out_of_cores() {
#if defined(__SANITIZE_ADDRESS__)
  return true;
#else
  return prctl(PR_SET_DUMPABLE, 0) == 0;
#endif
}

// Keys and evictions of every limit whose name the metrics know.
void tell_rate_limits(net::Telemetry& telemetry, const policy::MemoryCounters& counters) {
  for (const std::vector<std::string>& name : telemetry.layout.names(metrics::Dim::limit)) {
    const policy::MemoryCounters::LimitStatus status = counters.status(name.front());
    const std::uint16_t label = telemetry.layout.index_of(metrics::Dim::limit, name.front());
    telemetry.levels.set<metrics::Metric::rate_limit_keys>(label, static_cast<double>(status.keys));
    telemetry.levels.set<metrics::Metric::rate_limit_evictions>(label, static_cast<double>(status.evictions));
  }
}

int serve(const std::string& path) {
  const std::shared_ptr<const config::Config> config = load_and_tell(path);
  if (!config) return exit_config;
  raise_descriptor_limit();
  const std::string too_few = config::descriptor_error(*config, config::descriptor_limit());
  if (!too_few.empty()) return complain(too_few, exit_unavailable);
  auto sockets = net::bind_sockets(*config, std::max(1U, config->workers), nullptr);
  if (!sockets) return complain(sockets.error(), exit_unavailable);
  const std::string refused = drop_privileges(*config);
  if (!refused.empty()) return complain(refused, exit_unavailable);
  if (!keep_out_of_cores()) return complain("can not keep memory out of core dumps", exit_unavailable);

  auto counters = std::make_shared<policy::MemoryCounters>(config->policy.rate_keys_max);
  net::Lasting lasting;
  lasting.counters = counters;
  lasting.lockout = std::make_shared<policy::Lockout>(config->auth.lockout);
  lasting.connections = std::make_shared<policy::ConnectionCounter>();
  const policy::Chain names(config->policy, *counters);
  lasting.telemetry = std::make_shared<net::Telemetry>(net::label_values(*config, names.rule_names()),
                                                       std::max(1U, config->workers));
  lasting.ticket_keys = std::make_shared<net::TicketKeys>(std::chrono::hours(config->tls.ticket_key_hours));
  try {
    lasting.journal = std::make_shared<metrics::Journal>(config->journal);
  } catch (const std::exception& error) {
    return complain(error.what(), exit_unavailable);
  }
  std::unique_ptr<state::SqliteStore> store;
  if (!config->state_path.empty()) {
    // Called by the writing thread alone, several times a second while the disk is full: each is counted,
    // one a minute is told.
    const auto count_error = [telemetry = lasting.telemetry, journal = lasting.journal,
                              told =
                                  std::chrono::steady_clock::time_point()](const std::string& error) mutable {
      telemetry->shared.add<metrics::Metric::state_store_errors>(metrics::StoreOp::flush);
      const auto now = std::chrono::steady_clock::now();
      if (told != std::chrono::steady_clock::time_point() && now - told < std::chrono::minutes(1)) return;
      told = now;
      journal->write(metrics::EventRecord{std::chrono::system_clock::now(),
                                          metrics::EventRecord::Level::error,
                                          "state_write_failed",
                                          {},
                                          {{"detail", error}},
                                          "counters go on in memory and are written when that works again"});
    };
    auto opened = state::SqliteStore::open({.path = config->state_path, .on_error = count_error}, *counters,
                                           lasting.lockout.get());
    if (!opened) return complain(config->state_path + ": " + opened.error(), exit_unavailable);
    store = std::move(*opened);
    if (!store->damage().empty()) {
      lasting.telemetry->shared.add<metrics::Metric::state_store_errors>(metrics::StoreOp::load);
      lasting.journal->write(metrics::EventRecord{std::chrono::system_clock::now(),
                                                  metrics::EventRecord::Level::error,
                                                  "state_damaged",
                                                  {},
                                                  {{"detail", store->damage()}},
                                                  "the state file was damaged and begins anew"});
    }
  }
  if (const auto threads = auth::reserve_workers(*lasting.auth_workers, config->auth); !threads) {
    return complain(threads.error(), exit_unavailable);
  }
  auto snapshot = net::make_snapshot(config, lasting, nullptr);
  if (!snapshot) return complain(snapshot.error(), exit_config);
  auth::use_workers(*lasting.auth_workers, config->auth);
  int code = 0;
  {
    lasting.telemetry->exporter.on_scrape(
        [telemetry = lasting.telemetry.get(), counters] { tell_rate_limits(*telemetry, *counters); });
    net::Gateway gateway(
        *snapshot, std::move(*sockets), [path] { return load_and_tell(path); },
        [counters, ticket_keys = lasting.ticket_keys](const config::Config& taken) {
          counters->set_keys_max(taken.policy.rate_keys_max);
          ticket_keys->set_lifetime(std::chrono::hours(taken.tls.ticket_key_hours));
        },
        [counters] {
          counters->forget_expired(
              std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now()));
        });
    snapshot->reset();
    const auto ran = gateway.run();
    code = ran ? *ran : complain(ran.error(), exit_unavailable);
  }
  lasting.auth_workers->stop();  // what their last answers count is still to be stored
  store.reset();
  lasting.journal->flush();
  // A thread may still be inside a library that waits for a directory. It uses what a return would destroy.
  if (lasting.auth_workers->stuck()) {
    std::fflush(nullptr);
    _exit(code);
  }
  return code;
}

}  // namespace

void add_serve_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("serve", "Run the gateway");
  auto path = std::make_shared<std::string>("/etc/portcullis/portcullis.toml");
  command->add_option("-c,--config", *path, "Configuration file")->capture_default_str();
  command->callback([path] {
    const int code = serve(*path);
    if (code != 0) throw CLI::RuntimeError(code);
  });
}

}  // namespace portcullis
