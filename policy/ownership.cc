#include "policy/ownership.h"

#include <algorithm>

namespace portcullis::policy {
namespace {

constexpr std::string_view group_prefix = "group:";

bool any_matches(const std::vector<AddressPattern>& patterns, std::string_view address) {
  return std::ranges::any_of(patterns,
                             [&](const AddressPattern& pattern) { return pattern.matches(address); });
}

bool any_matches(const TextMap<std::vector<AddressPattern>>& map, std::string_view key,
                 std::string_view address) {
  const auto found = map.find(key);
  return found != map.end() && any_matches(found->second, address);
}

}  // namespace

Ownership::Ownership(const std::vector<Grant>& grants, char subaddress) : subaddress_(subaddress) {
  for (const Grant& grant : grants) {
    const std::string_view who = grant.who;
    const auto send_as = AddressPattern::parse(grant.send_as);
    if (!send_as) continue;
    if (who.starts_with(group_prefix)) {
      by_group_[std::string(who.substr(group_prefix.size()))].push_back(*send_as);
    } else if (!who.starts_with('@') && !who.starts_with("*@")) {
      by_login_[canonical_login(who).value_or(grant.who)].push_back(*send_as);
    } else if (const auto logins = AddressPattern::parse(who)) {
      by_login_pattern_.emplace_back(*logins, *send_as);
    }
  }
}

bool Ownership::owns(const Account& account, const smtp::Mailbox& mailbox) const {
  AddressBuffer buffer;
  const auto whole = canonical_address(mailbox, '\0', buffer);
  if (!whole) return false;
  if (owns_canonical(account, *whole)) return true;
  if (subaddress_ == '\0' || mailbox.local.find(subaddress_, 1) == std::string::npos) return false;
  const auto stripped = canonical_address(mailbox, subaddress_, buffer);
  return stripped && owns_canonical(account, *stripped);
}

bool Ownership::owns_canonical(const Account& account, std::string_view address) const {
  if (account.login == address || std::ranges::find(account.addresses, address) != account.addresses.end() ||
      any_matches(account.patterns, address) || any_matches(by_login_, account.login, address)) {
    return true;
  }
  if (!by_group_.empty() && std::ranges::any_of(account.groups, [&](const std::string& group) {
        return any_matches(by_group_, group, address);
      })) {
    return true;
  }
  return std::ranges::any_of(by_login_pattern_, [&](const auto& grant) {
    return grant.first.matches(account.login) && grant.second.matches(address);
  });
}

}  // namespace portcullis::policy
