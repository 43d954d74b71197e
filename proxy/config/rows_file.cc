// The top of the file, and the tables of what the program writes: journal, metrics, state.
#include "proxy/config/rows.h"

namespace portcullis::config {

const Table<metrics::JournalSettings>& journal_table() {
  using metrics::EventRecord;
  using metrics::JournalSettings;
  using Sink = JournalSettings::Sink;
  using Level = EventRecord::Level;
  static const Table<JournalSettings> table{
      "The journal: one JSON line per transaction, session and notable event (docs/journal.md).",
      {
          row("sink", &JournalSettings::sink,
              choice<Sink>({{"stderr", Sink::stderr_}, {"file", Sink::file}, {"syslog", Sink::syslog}}),
              "Where the lines go. Under systemd, `stderr` is the system's journal."),
          row("path", &JournalSettings::path, path(),
              "The file, for `sink = \"file\"`. It is opened anew on SIGHUP, for logrotate."),
          row("level", &JournalSettings::level,
              choice<Level>({{"debug", Level::debug},
                             {"info", Level::info},
                             {"warning", Level::warning},
                             {"error", Level::error}}),
              "Events below this level are not written. Transactions and sessions always are."),
          row("subject", &JournalSettings::subject, boolean(),
              "Also write the Subject of each message. Think of who reads the journal."),
          row("queue_size", &JournalSettings::queue_octets_max, size(64 * 1024, 1024 * 1024 * 1024),
              "Memory for lines that the sink is too slow to take, for each thread that writes. What does "
              "not "
              "fit is dropped and counted; mail never waits for a disk."),
      },
      {}};
  return table;
}

const Table<Admin>& metrics_table() {
  static const Table<Admin> table{
      "The HTTP listener for operators: `/metrics` for Prometheus, `/healthz` and `/readyz`. It has no "
      "access control of its own; keep it on loopback or a management network.",
      {
          row("address", &Admin::sockets, list(socket_address(), 16),
              "Where to listen; an empty list turns it off."),
          row("connections_max", &Admin::connections, count(1, 1000), "Connections at a time."),
          row("timeout", &Admin::timeout_seconds, seconds(1, 300),
              "A request that is not complete after this long is dropped."),
      },
      {}};
  return table;
}

const Table<Config>& state_table() {
  static const Table<Config> table{
      "Where counters outlive a restart.",
      {
          row("path", &Config::state_path, path(),
              "An SQLite file for rates, quotas and what brute-force control blocks; its directory must be "
              "writable for `user`. Without one they "
              "live in memory and start from zero with the program."),
      },
      {}};
  return table;
}

namespace {

std::vector<Row<Draft>> file_rows() {
  const auto config = [](auto Config::* field) {
    return [field](Draft& d) -> auto& { return d.config.*field; };
  };
  const auto local_domains = [](Draft& d) -> auto& { return d.config.policy.local_domains; };
  return {
      required(row_of<Draft>(
          "hostname", config(&Config::hostname), domain(),
          "The gateway's name: in its banner, in Received fields, in its EHLO to upstreams. Use "
          "the name that clients connect to and that the certificate carries.")),
      row_of<Draft>("local_domains", local_domains, list(domain_pattern(), 100000),
                    "The domains whose mail the upstream takes. Without AUTH, mail is accepted for these "
                    "only, and never from a sender in them."),
      row_of<Draft>(
          "public_suffixes_owned", config(&Config::public_suffixes_owned), list(domain(), 100),
          "Public suffixes (`com`, `co.uk`, `k12.ca.us`) that you run yourself. Only these may stand in "
          "`local_domains`, or `*.` before them: below a public suffix are the domains of strangers."),
      defaulting(
          row_of<Draft>("workers", config(&Config::workers), count(0, 256),
                        "Threads that carry mail, each with its own loop and pool of upstream connections; "
                        "0: one for each CPU."),
          "1"),
      row_of<Draft>("user", config(&Config::user), text(),
                    "The user to become once sockets are bound; empty: stay who started the program. "
                    "Not needed under the systemd unit, which starts it as its own user."),
      row_of<Draft>("group", config(&Config::group), text(),
                    "The group to become; empty: the primary group of `user`."),
      row_of<Draft>("drain", config(&Config::drain_seconds), seconds(0, 3600),
                    "After SIGTERM, how long transactions under way may take to finish."),
      row_of<Draft>("memory_max", config(&Config::memory_octets_max), size(0, std::uint64_t{1} << 50),
                    "Above so much resident memory new sessions are answered 421 and transactions without a "
                    "login 452; an eighth above it all new transactions are. 0: seven eighths of what the "
                    "control group of the service or container allows, if it has a bound."),
      row_of<Draft>("received_fields_max", config(&Config::received_fields_max), count(5, 1000),
                    "A message with more Received fields than this is in a loop and is refused "
                    "(RFC 5321 6.3 asks for at least 100)."),
  };
}

template <auto Field>
auto& in_config(Draft& draft) {
  return draft.config.*Field;
}

template <auto Field>
auto& in_policy(Draft& draft) {
  return draft.config.policy.*Field;
}

Listener fresh_listener(const Draft& draft) {
  Listener listener;
  listener.limits = draft.limits;
  return listener;
}

}  // namespace

const Table<Draft>& file_table() {
  using policy::Settings;
  const auto whole = [](Draft& d) -> Config& { return d.config; };
  const auto settings = [](Draft& d) -> Settings& { return d.config.policy; };
  const auto grants = [](Draft& d) -> auto& { return d.config.policy.identity.grants; };
  const auto same = [](Draft& d) -> Draft& { return d; };
  static const Table<Draft> table{
      "The top of the file, before the first table.",
      file_rows(),
      {
          child_of<Draft>("tls", in_config<&Config::tls>, tls_table()),
          child_of<Draft>("limits", same, limits_table()),  // before the listeners, which start from it
          children_of<Draft>("listener", in_config<&Config::listeners>, listener_table(), 256,
                             fresh_listener),
          children_of<Draft>("upstream", in_config<&Config::upstreams>, upstream_table(), 256),
          child_of<Draft>("auth", whole, auth_table()),
          children_of<Draft>("network", in_policy<&Settings::networks>, network_table()),
          child_of<Draft>("policy", settings, policy_table()),
          children_of<Draft>("grant", grants, grant_table(), 100000),
          children_of<Draft>("domain_rule", in_policy<&Settings::domain_rules>, domain_rule_table()),
          children_of<Draft>("usage", in_policy<&Settings::usage>, usage_table()),
          children_of<Draft>("rate", in_policy<&Settings::rates>, rate_table()),
          child_of<Draft>("journal", in_config<&Config::journal>, journal_table()),
          child_of<Draft>("metrics", in_config<&Config::admin>, metrics_table()),
          child_of<Draft>("state", whole, state_table()),
      }};
  return table;
}

}  // namespace portcullis::config
