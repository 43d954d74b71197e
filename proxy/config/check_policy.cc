#include <algorithm>
#include <set>

#include "policy/ip.h"
#include "proxy/config/check.h"

namespace portcullis::config {

namespace {

using policy::IpNetwork;
using policy::Network;

// Shorter prefixes than these hold so much of the Internet that trusting them is trusting strangers.
constexpr std::uint8_t shortest_trusted_v4 = 8;
constexpr std::uint8_t shortest_trusted_v6 = 24;

// fc00::/7 (RFC 4193) and fe80::/10 are nobody's on the Internet, however short.
bool is_private_v6(const IpNetwork& network) {
  const std::uint8_t first = network.base.octets[0], second = network.base.octets[1];
  if ((first & 0xfe) == 0xfc) return network.prefix_bits >= 7;
  return first == 0xfe && (second & 0xc0) == 0x80 && network.prefix_bits >= 10;
}

bool is_too_wide(const IpNetwork& network) {
  if (!network.base.v6) return network.prefix_bits < shortest_trusted_v4;
  return network.prefix_bits < shortest_trusted_v6 && !is_private_v6(network);
}

struct Permission {
  const char* key;
  bool Network::* granted;
  const char* consequence;
};

constexpr Permission permissions[] = {
    {"may_relay", &Network::may_relay, "would be an open relay"},
    {"may_auth_without_tls", &Network::may_auth_without_tls, "would let strangers' passwords cross in clear"},
    {"may_send_proxy_header", &Network::may_send_proxy_header, "would let strangers choose their address"},
    {"may_send_xclient", &Network::may_send_xclient, "would let strangers choose their address and login"},
    {"may_send_xforward", &Network::may_send_xforward,
     "would let strangers write into the logs where mail is from"},
};

void check_network(const Check& check, const Network& network, const std::string& path) {
  for (const IpNetwork& addresses : network.addresses) {
    if (!is_too_wide(addresses)) continue;
    for (const Permission& permission : permissions) {
      if (network.*permission.granted) {
        check.error(
            path + '.' + permission.key,
            policy::to_string(addresses) + " is too much of the Internet: this " + permission.consequence);
      }
    }
    if (network.may_use_local_senders) {
      check.warning(
          path + ".may_use_local_senders",
          policy::to_string(addresses) + " may send as local_domains: spoofing is not checked there");
    }
  }
}

// The names rules may refer to.
struct Known {
  std::set<std::string> listeners, networks;
  bool groups = false;  // whether any backend tells groups

  explicit Known(const Config& config) {
    for (const Listener& listener : config.listeners) listeners.insert(listener.name);
    for (const Network& network : config.policy.networks) networks.insert(network.name);
    for (const auth::BackendKind backend : config.auth.backends) {
      const auth::LdapBackend& ldap = config.auth.ldap;
      groups = groups || backend == auth::BackendKind::file ||
               (backend == auth::BackendKind::ldap &&
                (!ldap.group_attributes.empty() || !ldap.group_base_dn.empty()));
    }
  }
};

void check_references(const Check& check, const std::vector<std::string>& names,
                      const std::set<std::string>& known, std::string_view what, const std::string& path) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (known.contains(names[i])) continue;
    const std::vector<std::string_view> candidates(known.begin(), known.end());
    const auto near = closest(names[i], candidates);
    check.error(path, "there is no [[" + std::string(what) + "]] with the name \"" + names[i] + "\"" +
                          (near.empty() ? "" : "; did you mean \"" + std::string(near) + "\"?"));
  }
}

void check_groups(const Check& check, const Known& known, bool uses_groups, const std::string& path) {
  if (uses_groups && !known.groups)
    check.warning(path, "no backend in [auth] tells groups, so this never matches");
}

void check_usage(const Check& check, const Known& known) {
  for (std::size_t i = 0; i < check.config.policy.usage.size(); ++i) {
    const policy::UsageRule& rule = check.config.policy.usage[i];
    const std::string path = indexed("usage", i);
    check_references(check, rule.listeners, known.listeners, "listener", path + ".listeners");
    check_groups(check, known, !rule.groups.empty(), path + ".groups");
    const bool limits = rule.recipients_per_message || rule.message_bytes || rule.attachments_per_message ||
                        rule.visible_recipients_per_message || rule.messages_per_session ||
                        rule.recipients_per_session;
    if (!limits) check.warning(path, "limits nothing");
  }
}

void check_grants(const Check& check, const Known& known) {
  const auto& grants = check.config.policy.identity.grants;
  for (std::size_t i = 0; i < grants.size(); ++i) {
    check_groups(check, known, grants[i].who.starts_with("group:"), indexed("grant", i) + ".who");
  }
}

void check_strictness(const Check& check) {
  const policy::Settings& policy = check.config.policy;
  for (const policy::StrictnessRow& row : policy::strictness_rows()) {
    const auto own = policy.strictness.own[static_cast<std::size_t>(row.rule)];
    if (row.relaxed != policy::Relaxed::without_identity ||
        own.value_or(policy::Mode::enforce) == policy::Mode::enforce) {
      continue;
    }
    if (policy::judges_authors(policy)) {
      check.error("policy.strictness." + std::string(row.name),
                  "keeps the author unambiguous: it stays in `enforce` while policy.identity.mode, "
                  "policy.outside.spoof_mode or a [[domain_rule]] that checks headers is in `enforce`");
    }
  }
}

}  // namespace

void check_networks(const Check& check) {
  const auto& networks = check.config.policy.networks;
  for (std::size_t i = 0; i < networks.size(); ++i) check_network(check, networks[i], indexed("network", i));
}

void check_rules(const Check& check) {
  const policy::Settings& policy = check.config.policy;
  const Known known(check.config);
  for (std::size_t i = 0; i < policy.domain_rules.size(); ++i) {
    const policy::DomainRule& rule = policy.domain_rules[i];
    const std::string path = indexed("domain_rule", i);
    check_references(check, rule.listeners, known.listeners, "listener", path + ".listeners");
    check_references(check, rule.networks, known.networks, "network", path + ".networks");
    check_groups(check, known, !rule.groups.empty(), path + ".groups");
  }
  check_usage(check, known);
  for (std::size_t i = 0; i < policy.rates.size(); ++i) {
    const policy::RateRule& rule = policy.rates[i];
    const std::string path = indexed("rate", i);
    check_references(check, rule.listeners, known.listeners, "listener", path + ".listeners");
    check_groups(check, known, !rule.exempt_groups.empty(), path + ".exempt_groups");
  }
  check_grants(check, known);
  check_strictness(check);
}

}  // namespace portcullis::config
