#include <algorithm>
#include <set>

#include "proxy/config/check.h"

namespace portcullis::config {

namespace {

// The names rules may refer to.
struct Known {
  std::set<std::string> listeners, networks;
  bool groups = false;  // whether any backend tells groups

  explicit Known(const Config& config) {
    for (const Listener& listener : config.listeners) listeners.insert(listener.name);
    for (const policy::Network& network : config.policy.networks) networks.insert(network.name);
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
