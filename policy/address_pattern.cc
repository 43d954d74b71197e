#include "policy/address_pattern.h"

#include "policy/identity.h"

namespace portcullis::policy {

std::optional<AddressPattern> AddressPattern::parse(std::string_view text) {
  const auto at = text.rfind('@');
  if (at == text.npos) return std::nullopt;
  AddressPattern pattern;
  const std::string_view local = text.substr(0, at);
  if (!local.empty() && local != "*") {
    pattern.local_ = canonical_local_part(local);
    if (!pattern.local_) return std::nullopt;
  }
  const auto domain = canonical_domain_pattern(text.substr(at + 1));
  if (!domain) return std::nullopt;
  pattern.below_ = domain->starts_with("*.");
  pattern.domain_ = domain->substr(pattern.below_ ? 2 : 0);
  return pattern;
}

bool AddressPattern::matches(std::string_view canonical_address) const {
  const auto at = canonical_address.rfind('@');
  if (at == canonical_address.npos) return false;
  if (local_ && *local_ != canonical_address.substr(0, at)) return false;
  const std::string_view domain = canonical_address.substr(at + 1);
  if (!below_) return domain == domain_;
  return domain.size() > domain_.size() + 1 && domain.ends_with(domain_) &&
         domain[domain.size() - domain_.size() - 1] == '.';
}

std::string AddressPattern::text() const { return local_.value_or("*") + (below_ ? "@*." : "@") + domain_; }

}  // namespace portcullis::policy
