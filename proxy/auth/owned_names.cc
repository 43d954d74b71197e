#include "proxy/auth/owned_names.h"

#include <algorithm>

#include "smtp/path.h"

namespace portcullis::auth {

std::optional<std::string> owned_address(std::string_view text) {
  const auto mailbox = smtp::parse_mailbox(text, true);
  // "*"@example.com could exist; it is somebody's attempt far more often.
  if (!mailbox || mailbox->domain.empty() || mailbox->local == "*") return std::nullopt;
  return policy::canonical_address(*mailbox, '\0');
}

std::optional<policy::AddressPattern> granted_addresses(std::string_view text) {
  if (text.starts_with("*@") && !text.starts_with("*@*")) return policy::AddressPattern::parse(text);
  const auto address = owned_address(text);
  return address ? policy::AddressPattern::parse(*address) : std::nullopt;
}

void grant(policy::Account& account, std::string_view text) {
  auto granted = granted_addresses(text);
  if (!granted) return;
  if (!granted->has_wildcard()) return append_unique(account.addresses, granted->text());
  account.patterns.push_back(*std::move(granted));
}

std::optional<std::string> group_name(std::string_view text) {
  if (auto name = policy::canonical_login(text)) return name;
  if (text.empty()) return std::nullopt;
  std::string name(text);
  for (char& c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return std::nullopt;
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

bool serves(const policy::DomainSet& domains, std::string_view login) {
  const auto at = login.rfind('@');
  return domains.empty() || at == login.npos || domains.contains(login.substr(at + 1));
}

void append_unique(std::vector<std::string>& values, std::string value) {
  if (std::ranges::find(values, value) == values.end()) values.push_back(std::move(value));
}

}  // namespace portcullis::auth
