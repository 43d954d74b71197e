// Who may do what: [policy], [[network]], [[grant]], [[domain_rule]], [[usage]], [[rate]],
// [limits.connections]. Every rule has a name, which its refusals carry, and a mode.
#include "policy/verdict.h"
#include "proxy/config/rows.h"

namespace portcullis::config {

namespace {

using policy::ConnectionRule;
using policy::DomainRule;
using policy::Grant;
using policy::IdentityRule;
using policy::Network;
using policy::OnError;
using policy::OutsideRule;
using policy::RateKey;
using policy::RateRule;
using policy::Settings;
using policy::UsageRule;

const std::string mode_help = "`enforce`; `shadow`: decide, count and log, but let pass; `off`: do not look.";
const std::string listeners_help = "Only on these listeners; empty: on all.";

const Table<IdentityRule>& identity_table() {
  using R = IdentityRule;
  static const Table<IdentityRule> table{
      "After a login: reverse-path and every From and Sender must be addresses that the account owns or was "
      "granted.",
      {
          row("name", &R::name, name(), "The rule's name."),
          row("mode", &R::mode, mode(), mode_help),
          row("allow_null_reverse_path", &R::allow_null_reverse_path, boolean(),
              "Accept `MAIL FROM:<>` after a login, as read receipts have it (RFC 8098), when From is an "
              "address "
              "of the account; rates count such a message like any other."),
          row("check_header", &R::check_header, boolean(),
              "Look at From and Sender, not only at the reverse-path."),
          row("check_resent", &R::check_resent, boolean(), "Look at Resent-From and Resent-Sender too."),
          row("subaddress", &R::subaddress, one_character(),
              "What starts a detail in a local part: `alice+lists@` is `alice@`; empty: nothing does."),
      },
      {}};
  return table;
}

const Table<OutsideRule>& outside_table() {
  using R = OutsideRule;
  static const Table<OutsideRule> table{
      "Without a login: senders must not claim `local_domains`, recipients must be in them. The second can "
      "not be "
      "turned off, only granted to a [[network]].",
      {
          row("spoof_name", &R::spoof_name, name(), "The name of the rule against local senders."),
          row("spoof_mode", &R::spoof_mode, mode(), mode_help),
          row("check_resent", &R::check_resent, boolean(),
              "Look at Resent-From and Resent-Sender too, not only at From and Sender."),
          row("relay_name", &R::relay_name, name(), "The name of the rule against relaying."),
      },
      {}};
  return table;
}

// Rules that may never be relaxed have no key.
const Table<policy::StrictnessSettings>& strictness_table() {
  using S = policy::StrictnessSettings;
  static const Table<S> table = [] {
    Table<S> made{
        "How strictly commands and headers are read (docs/header-strictness.md). A rule that keeps the "
        "author "
        "unambiguous stays in `enforce` while an enforced rule judges authors: [policy.identity], "
        "[policy.outside] or a [[domain_rule]] that checks headers.",
        {defaulting(row("mode", &S::mode, mode(),
                        "The mode of all rules here that enforce and are not given a mode of their own."),
                    "\"enforce\"")},
        {}};
    for (const policy::StrictnessRow& rule : policy::strictness_rows()) {
      if (rule.relaxed == policy::Relaxed::never) continue;
      const auto own = [index = static_cast<std::size_t>(rule.rule)](S& s) -> auto& { return s.own[index]; };
      made.rows.push_back(defaulting(row_of<S>(std::string(rule.name), own, mode(), std::string(rule.help)),
                                     '"' + std::string(policy::name_of(rule.initial)) + '"'));
    }
    return made;
  }();
  return table;
}

}  // namespace

const Table<Settings>& policy_table() {
  static const Table<Settings> table{
      "Policies that are always there.",
      {row(
          "rate_keys_max", &Settings::rate_keys_max, count(1000, 100000000),
          "Logins, addresses or networks each [[rate]] keeps count of; beyond it the oldest are forgotten.")},
      {child<Settings>("identity", &Settings::identity, identity_table()),
       child<Settings>("outside", &Settings::outside, outside_table()),
       child<Settings>("strictness", &Settings::strictness, strictness_table())}};
  return table;
}

const Table<ConnectionRule>& connections_table() {
  using R = ConnectionRule;
  static const Table<ConnectionRule> table{
      "Connections of one client network, looked at before anything is read.",
      {
          row("name", &R::name, name(), "The rule's name."),
          row("mode", &R::mode, mode(), mode_help),
          row("concurrent_per_network", &R::concurrent_per_network, count(0, 1000000),
              "Connections at a time; 0: no limit."),
          row("new_per_minute_per_network", &R::new_per_minute_per_network, count(0, 10000000),
              "New connections in a minute; 0: no limit."),
          row("ipv4_prefix", &R::ipv4_prefix_bits, count(8, 32), "Which IPv4 addresses are one network."),
          row("ipv6_prefix", &R::ipv6_prefix_bits, count(16, 128), "Which IPv6 addresses are one network."),
      },
      {}};
  return table;
}

const Table<Grant>& grant_table() {
  static const Table<Grant> table{
      "Addresses somebody may send as besides their own.",
      {
          required(
              row("who", &Grant::who, grantee(), "A login, `*@domain` for all its logins, or `group:name`.")),
          required(row("send_as", &Grant::send_as, address_pattern(),
                       "The address, `*@domain`, or `*@*.domain` for what is below it.")),
      },
      {}};
  return table;
}

const Table<DomainRule>& domain_rule_table() {
  using R = DomainRule;
  static const Table<DomainRule> table{
      "Sender domains: a session that meets all the conditions given may use only these, in the reverse-path "
      "and in "
      "the header.",
      {
          required(row("name", &R::name, name(), "The rule's name.")),
          row("mode", &R::mode, mode(), mode_help),
          row("listeners", &R::listeners, list(name()), listeners_help),
          row("networks", &R::networks, list(name()),
              "Only for clients in these [[network]]s; empty: for all."),
          row("logins", &R::logins, list(login_pattern()), "Only for these logins; empty: for all."),
          row("groups", &R::groups, list(group()),
              "Only for accounts in one of these groups; empty: for all."),
          required(row("domains", &R::domains, some(domain_pattern()), "The domains they may use.")),
          row("check_header", &R::check_header, boolean(),
              "Look at From and Sender, not only at the reverse-path."),
      },
      {}};
  return table;
}

const Table<UsageRule>& usage_table() {
  using R = UsageRule;
  static const Table<UsageRule> table{
      "How much one message or session may be. Limits that are not given do not limit.",
      {
          required(row("name", &R::name, name(), "The rule's name.")),
          row("mode", &R::mode, mode(), mode_help),
          row("listeners", &R::listeners, list(name()), listeners_help),
          row("groups", &R::groups, list(group()),
              "Only for accounts in one of these groups; empty: for everybody."),
          row("recipients_per_message", &R::recipients_per_message, count(1, 1000000),
              "Recipients of the envelope."),
          row("message_size", &R::message_bytes, size(1024, 1ULL << 40), "Size, as declared and as sent."),
          row("attachments_per_message", &R::attachments_per_message, count(0, 100000),
              "Attachments, counted in the MIME parts."),
          row("visible_recipients_per_message", &R::visible_recipients_per_message, count(1, 1000000),
              "Addresses in To and Cc, which every recipient gets to see."),
          row("messages_per_session", &R::messages_per_session, count(1, 10000000),
              "Messages in one session."),
          row("recipients_per_session", &R::recipients_per_session, count(1, 10000000),
              "Recipients in one session."),
      },
      {}};
  return table;
}

namespace {

// `limit` fills three fields of the rule.
Row<RateRule> rate_limit_row() {
  Row<RateRule> row;
  const auto type = rate_limit();
  row.reference = {"limit",
                   type.name,
                   {},
                   {},
                   "An amount and a period, for instance `500 recipients/day`, "
                   "`30 messages/minute` or `2GiB/hour`. The period slides.",
                   true};
  row.read = [type](Reader& reader, const Value& value, const std::string& key, RateRule& rule) {
    RateLimit limit;
    type.read(reader, value, key, limit);
    rule.amount = limit.amount;
    rule.unit = limit.unit;
    rule.period_seconds = limit.period_seconds;
  };
  return row;
}

}  // namespace

const Table<RateRule>& rate_table() {
  using R = RateRule;
  static const Table<RateRule> table{
      "How much in a time: what is over is answered 450 or 452 until some of the period has passed.",
      {
          required(row("name", &R::name, name(), "The rule's name.")),
          row("mode", &R::mode, mode(), mode_help),
          row("key", &R::key,
              choice<RateKey>({{"login", RateKey::login},
                               {"client_ip", RateKey::client_ip},
                               {"client_net", RateKey::client_net},
                               {"reverse_path_domain", RateKey::reverse_path_domain}}),
              "Whose mail is counted together. `client_ip` is an IPv4 address or an IPv6 /64, `client_net` "
              "an IPv4 /24 or an IPv6 /48. What has no such key (no login, a null reverse-path) is not "
              "counted."),
          rate_limit_row(),
          row("listeners", &R::listeners, list(name()), listeners_help),
          row("exempt_groups", &R::exempt_groups, list(group()),
              "Accounts in one of these groups are not counted."),
          row("on_error", &R::on_error,
              choice<OnError>({{"defer", OnError::defer}, {"allow", OnError::allow}}),
              "When counters can not be read: answer 451, or let pass."),
      },
      {}};
  return table;
}

const Table<Network>& network_table() {
  using N = Network;
  static const Table<Network> table{
      "A named set of client addresses and what it is trusted with.",
      {
          required(row("name", &N::name, name(), "What rules call it.")),
          required(row("addresses", &N::addresses, some(ip_network()), "Networks or single addresses.")),
          row("may_relay", &N::may_relay, boolean(), "Send to any domain without a login."),
          row("may_use_local_senders", &N::may_use_local_senders, boolean(),
              "Send from `local_domains` without a login: printers, servers."),
          row("may_auth_without_tls", &N::may_auth_without_tls, boolean(), "Offer AUTH before TLS."),
          row("may_send_proxy_header", &N::may_send_proxy_header, boolean(),
              "Name the client in a PROXY header: load balancers."),
          row("may_send_xclient", &N::may_send_xclient, boolean(),
              "Name the client, its port and its login with XCLIENT: another proxy in front."),
          row("may_send_xforward", &N::may_send_xforward, boolean(),
              "Tell with XFORWARD where a message came from: another mail server in front. It goes into the "
              "journal, and with `client_identity = \"xforward\"` to the upstream; no policy looks at it."),
          row("exempt_from_connection_limits", &N::exempt_from_connection_limits, boolean(),
              "[limits.connections] does not count it."),
      },
      {}};
  return table;
}

}  // namespace portcullis::config
