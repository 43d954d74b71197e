// What the admin chose: plain data, filled and checked by proxy/config, read by the chain.
// Names of rules are unique over all kinds; they appear in replies, journal and metrics.
// Every member has an initializer, so that designated initializers may leave any of them out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "policy/ip.h"
#include "policy/strictness.h"

// NOLINTBEGIN(readability-redundant-member-init): GCC warns of what designated initializers leave out
// unless the member has an initializer.
namespace portcullis::policy {

enum class OnError : std::uint8_t { defer, allow };

// [[network]]: a named set of client addresses and what it is trusted with.
struct Network {
  std::string name = {};
  std::vector<IpNetwork> addresses = {};
  bool may_relay = false;              // relay without AUTH
  bool may_use_local_senders = false;  // our domains as sender without AUTH
  bool may_auth_without_tls = false;   // AUTH offered before STARTTLS
  bool may_send_proxy_header = false;  // PROXY protocol accepted
  bool may_send_xclient = false;       // XCLIENT accepted: for the policies the client is who it says
  bool may_send_xforward = false;      // XFORWARD accepted: for the journal and the upstream's log only
  bool exempt_from_connection_limits = false;
};

// [[grant]]: `who` may send as `send_as`, besides what they own.
struct Grant {
  std::string who = {};      // login, "*@domain" pattern of logins, or "group:NAME"
  std::string send_as = {};  // see AddressPattern
};

// [policy.identity] (4.1): login = reverse-path = every From and Sender mailbox.
struct IdentityRule {
  std::string name = "identity";
  Mode mode = Mode::enforce;
  // MAIL FROM:<> by an authenticated client (RFC 8098 3: read receipts), when From is theirs.
  bool allow_null_reverse_path = true;
  bool check_header = true;  // From and Sender too, not only the reverse-path
  bool check_resent = true;  // Resent-From / Resent-Sender where present
  char subaddress = '+';     // 0: subaddressing is not understood
  std::vector<Grant> grants = {};
};

// [[domain_rule]] (4.2): sessions that match all given conditions may use only these sender domains.
struct DomainRule {
  std::string name = {};
  Mode mode = Mode::enforce;
  std::vector<std::string> listeners = {};  // empty: any; likewise below
  std::vector<std::string> networks = {};   // names of [[network]]
  std::vector<std::string> logins = {};     // patterns
  std::vector<std::string> groups = {};
  std::vector<std::string> domains = {};  // patterns, see domain_matches
  bool check_header = true;
};

// [policy.outside] (4.3): mail without AUTH.
struct OutsideRule {
  std::string spoof_name = "local-sender";  // claims one of our domains
  Mode spoof_mode = Mode::enforce;
  bool check_resent = true;          // Resent-From and Resent-Sender too
  std::string relay_name = "relay";  // recipient is not ours; always enforced
};

// [[usage]] (4.4). Absent values do not limit.
struct UsageRule {
  std::string name = {};
  Mode mode = Mode::enforce;
  std::vector<std::string> listeners = {};
  std::vector<std::string> groups = {};  // of the account; empty: everybody
  std::optional<std::uint64_t> recipients_per_message = {};
  std::optional<std::uint64_t> message_bytes = {};
  std::optional<std::uint64_t> attachments_per_message = {};
  std::optional<std::uint64_t> visible_recipients_per_message = {};  // To and Cc
  std::optional<std::uint64_t> messages_per_session = {};
  std::optional<std::uint64_t> recipients_per_session = {};
};

enum class RateKey : std::uint8_t { login, client_ip, client_net, reverse_path_domain };
enum class RateUnit : std::uint8_t { messages, recipients, bytes };

// [[rate]] (4.5).
struct RateRule {
  std::string name = {};
  Mode mode = Mode::enforce;
  RateKey key = RateKey::login;
  RateUnit unit = RateUnit::recipients;
  std::uint64_t amount = 0;
  std::uint32_t period_seconds = 86400;     // minute, hour or day
  std::vector<std::string> listeners = {};  // empty: any
  std::vector<std::string> exempt_groups = {};
  OnError on_error = OnError::defer;
};

// [limits.connections]: per client network, before any command.
struct ConnectionRule {
  std::string name = "connections";
  Mode mode = Mode::enforce;
  std::uint32_t concurrent_per_network = 100;  // 0: no limit
  std::uint32_t new_per_minute_per_network = 600;
  std::uint8_t ipv4_prefix_bits = 32;
  std::uint8_t ipv6_prefix_bits = 64;
};

// [auth.lockout] (3.5).
struct LockoutRule {
  Mode mode = Mode::enforce;
  std::uint32_t failures_per_network = 50;  // distinct (login, password) pairs
  std::uint32_t distinct_passwords_per_login = 10;
  std::uint32_t window_seconds = 900;
  std::uint32_t block_seconds = 900;
  std::uint32_t first_delay_ms = 500;  // doubles per failure
  std::uint32_t max_delay_ms = 8000;
  std::uint32_t remember_networks_days = 30;  // where the owner logged in before
};

struct Settings {
  std::vector<std::string> local_domains = {};  // patterns, canonical
  std::vector<Network> networks = {};
  IdentityRule identity;
  OutsideRule outside;
  std::vector<DomainRule> domain_rules = {};
  std::vector<UsageRule> usage = {};
  std::vector<RateRule> rates = {};
  ConnectionRule connections;
  StrictnessSettings strictness;
  std::uint32_t rate_keys_max = 200000;  // per limit; oldest are evicted
};

}  // namespace portcullis::policy
// NOLINTEND(readability-redundant-member-init)
