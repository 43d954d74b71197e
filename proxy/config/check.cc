#include "proxy/config/check.h"

#include <algorithm>
#include <map>

#include "policy/ip.h"

namespace portcullis::config {

bool Check::given(std::string_view path) const { return find_path(document, path).exact; }

void Check::error(const std::string& path, std::string text) const {
  reader.error(find_path(document, path).at, path, std::move(text));
}

void Check::warning(const std::string& path, std::string text) const {
  reader.warning(find_path(document, path).at, path, std::move(text));
}

std::string indexed(std::string_view key, std::size_t index) {
  return std::string(key) + '[' + std::to_string(index + 1) + ']';
}

bool is_loopback(const policy::IpAddress& address) {
  if (!address.v6) return address.octets[0] == 127;
  policy::IpAddress one;
  one.v6 = true;
  one.octets[15] = 1;
  return address == one;
}

bool is_loopback_host(std::string_view host) {
  const auto address = policy::parse_ip(host);
  return address ? is_loopback(*address) : host == "localhost";
}

namespace {

// Reports the second of two equal names; empty ones have been reported as missing.
class Names {
 public:
  Names(const Check& check, std::string_view what) : check_(check), what_(what) {}
  void add(const std::string& name, const std::string& path) {
    if (name.empty()) return;
    const auto [first, added] = where_.emplace(name, path);
    if (!added) {
      check_.error(path, '"' + name + "\" is already the name of another " + what_ + ", at " + first->second);
    }
  }

 private:
  const Check& check_;
  std::string what_;
  std::map<std::string, std::string> where_;
};

template <class T>
void add_all(Names& names, std::string_view key, const std::vector<T>& all) {
  for (std::size_t i = 0; i < all.size(); ++i) names.add(all[i].name, indexed(key, i) + ".name");
}

}  // namespace

void check_names(const Check& check) {
  const policy::Settings& policy = check.config.policy;
  Names listeners(check, "listener"), upstreams(check, "upstream"), networks(check, "network"),
      rules(check, "rule");
  add_all(listeners, "listener", check.config.listeners);
  add_all(upstreams, "upstream", check.config.upstreams);
  add_all(networks, "network", policy.networks);
  // One name space for all kinds of rules: a refusal, a journal line and a metric name only the rule.
  for (const policy::StrictnessRow& row : policy::strictness_rows())
    rules.add(std::string(row.name), "policy.strictness");
  rules.add(policy.identity.name, "policy.identity.name");
  rules.add(policy.outside.spoof_name, "policy.outside.spoof_name");
  rules.add(policy.outside.relay_name, "policy.outside.relay_name");
  rules.add(policy.connections.name, "limits.connections.name");
  add_all(rules, "domain_rule", policy.domain_rules);
  add_all(rules, "usage", policy.usage);
  add_all(rules, "rate", policy.rates);
}

}  // namespace portcullis::config
