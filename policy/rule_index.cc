#include "policy/rule_index.h"

#include <algorithm>

namespace portcullis::policy {
namespace {

bool is_exact_login(const std::string& login) { return !login.starts_with("*@") && !login.starts_with('@'); }

// The domain of "*@example.com"; empty for "*@*.example.com", which is under many.
std::string_view pattern_domain(std::string_view pattern) {
  const std::string_view domain = pattern.substr(pattern.find('@') + 1);
  return domain.starts_with("*.") || domain.starts_with('.') ? std::string_view{} : domain;
}

std::string_view login_domain(std::string_view login) {
  const auto at = login.rfind('@');
  return at == login.npos ? std::string_view{} : login.substr(at + 1);
}

void append(const TextMap<std::vector<std::uint16_t>>& map, std::string_view key, RuleList& out) {
  if (map.empty()) return;
  const auto found = map.find(key);
  if (found != map.end()) out.add(found->second);
}

}  // namespace

void RuleIndex::add(std::uint16_t rule, Conditions conditions) {
  Rule added{.number = rule, .conditions = std::move(conditions)};
  for (const std::string& login : added.conditions.logins) {
    if (is_exact_login(login)) continue;
    if (auto pattern = AddressPattern::parse(login)) added.logins.push_back(*std::move(pattern));
  }
  for (const std::string& name : added.conditions.networks) {
    const auto found = std::ranges::find(networks_, name, &Network::name);
    if (found != networks_.end())
      added.networks.push_back(static_cast<std::uint16_t>(found - networks_.begin()));
  }
  rules_.push_back(std::move(added));
  file(static_cast<std::uint16_t>(rules_.size() - 1));
}

void RuleIndex::file(std::uint16_t position) {
  const Rule& rule = rules_[position];
  const Conditions& when = rule.conditions;
  if (when.listeners.empty() && when.networks.empty() && when.logins.empty() && when.groups.empty()) {
    always_.push_back(position);
    always_rules_.push_back(rule.number);
  } else if (!when.logins.empty() && std::ranges::all_of(when.logins, is_exact_login)) {
    for (const auto& login : when.logins) by_login_[login].push_back(position);
  } else if (!when.groups.empty()) {
    for (const auto& group : when.groups) by_group_[group].push_back(position);
  } else if (!when.logins.empty() && std::ranges::none_of(when.logins, [](const std::string& login) {
               return pattern_domain(login).empty() || !login.contains('@');
             })) {
    for (const auto& login : when.logins)
      by_login_domain_[std::string(pattern_domain(login))].push_back(position);
  } else if (!when.networks.empty()) {
    for (const auto network : rule.networks) by_network_[network].push_back(position);
  } else if (!when.listeners.empty()) {
    for (const auto& listener : when.listeners) by_listener_[listener].push_back(position);
  } else {
    any_.push_back(position);
  }
}

void RuleIndex::collect(const ClientFacts& client, RuleList& out) const {
  out.add(any_);
  append(by_listener_, client.listener, out);
  if (!by_network_.empty()) {
    ranges_.visit(client.address, [&](std::uint16_t network) {
      const auto found = by_network_.find(network);
      if (found != by_network_.end()) out.add(found->second);
    });
  }
  if (client.account == nullptr) return;
  append(by_login_, client.account->login, out);
  append(by_login_domain_, login_domain(client.account->login), out);
  if (by_group_.empty()) return;
  for (const auto& group : client.account->groups) append(by_group_, group, out);
}

bool RuleIndex::applies(const Rule& rule, const ClientFacts& client) const {
  const Conditions& when = rule.conditions;
  if (!when.listeners.empty() && std::ranges::find(when.listeners, client.listener) == when.listeners.end()) {
    return false;
  }
  if (!when.logins.empty() || !when.groups.empty()) {
    if (client.account == nullptr) return false;
    const Account& account = *client.account;
    const auto is_login = [&](const std::string& login) {
      return is_exact_login(login) && login == account.login;
    };
    const auto is_of = [&](const AddressPattern& logins) { return logins.matches(account.login); };
    if (!when.logins.empty() && std::ranges::none_of(when.logins, is_login) &&
        std::ranges::none_of(rule.logins, is_of)) {
      return false;
    }
    const auto is_member = [&](const std::string& group) {
      return std::ranges::find(account.groups, group) != account.groups.end();
    };
    if (!when.groups.empty() && std::ranges::none_of(when.groups, is_member)) return false;
  }
  if (when.networks.empty()) return true;
  bool inside = false;
  ranges_.visit(client.address, [&](std::uint16_t network) {
    inside = inside || std::ranges::find(rule.networks, network) != rule.networks.end();
  });
  return inside;
}

std::span<const std::uint16_t> RuleIndex::find(const ClientFacts& client, RuleList& memory) const {
  if (always_.size() == rules_.size()) return always_rules_;
  memory.clear();
  memory.add(always_);
  collect(client, memory);
  const std::span<std::uint16_t> found = memory.view();
  if (found.size() == always_.size()) return always_rules_;
  std::ranges::sort(found);
  const auto repeated = std::ranges::unique(found);
  const auto end = std::remove_if(found.begin(), repeated.begin(),
                                  [&](std::uint16_t position) { return !applies(rules_[position], client); });
  const auto applying = found.first(static_cast<std::size_t>(end - found.begin()));
  for (std::uint16_t& position : applying) position = rules_[position].number;
  return applying;
}

}  // namespace portcullis::policy
