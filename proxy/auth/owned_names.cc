#include "proxy/auth/owned_names.h"

#include <algorithm>

#include "policy/identity.h"
#include "smtp/path.h"

namespace portcullis::auth {

std::optional<std::string> owned_address(std::string_view text, bool allow_wildcard) {
  const auto mailbox = smtp::parse_mailbox(text, true);
  if (!mailbox || mailbox->domain.empty()) return std::nullopt;
  if (mailbox->local == "*") {
    // Only as written without quotes: "*"@example.com is somebody's strange address.
    if (!allow_wildcard || !text.starts_with("*@")) return std::nullopt;
    const auto domain = policy::canonical_domain(mailbox->domain);
    return domain ? std::optional("*@" + *domain) : std::nullopt;
  }
  return policy::canonical_address(*mailbox, 0);
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

void append_unique(std::vector<std::string>& values, std::string value) {
  if (std::ranges::find(values, value) == values.end()) values.push_back(std::move(value));
}

}  // namespace portcullis::auth
