#include "policy/spoof.h"

#include <algorithm>

namespace portcullis::policy {
namespace {

bool in_domains(const DomainSet& domains, const smtp::Mailbox& mailbox) {
  std::array<char, smtp::limits::domain_octets> buffer;
  const std::size_t size = write_canonical_domain(mailbox.domain, buffer);
  return size != 0 && domains.contains({buffer.data(), size});
}

bool all_in_domains(const DomainSet& domains, const std::vector<smtp::HeaderMailbox>& mailboxes) {
  return std::ranges::all_of(mailboxes, [&](const auto& each) { return in_domains(domains, each.mailbox); });
}

}  // namespace

IdentityCheck::IdentityCheck(const IdentityRule& rule, std::uint16_t number)
    : rule_(rule), ref_{number, rule.mode}, ownership_(rule.grants, rule.subaddress) {}

void IdentityCheck::mail(const Account& account, const smtp::Path& reverse_path, Judge& judge) const {
  if (rule_.mode == Mode::off) return;
  if (reverse_path.null) {
    if (rule_.allow_null_reverse_path) return;
    judge.fire(ref_, {553, "5.7.1", "Empty sender not allowed: use your own address", SpoofCheck::envelope});
  } else if (!ownership_.owns(account, reverse_path.mailbox)) {
    judge.fire(ref_,
               {553, "5.7.1", "Sender address not owned by the authenticated account", SpoofCheck::envelope});
  }
}

void IdentityCheck::header(const Account& account, const smtp::HeaderFacts& header, Judge& judge) const {
  if (rule_.mode == Mode::off || !rule_.check_header) return;
  const auto all_owned = [&](const std::vector<smtp::HeaderMailbox>& mailboxes) {
    return std::ranges::all_of(mailboxes,
                               [&](const auto& each) { return ownership_.owns(account, each.mailbox); });
  };
  if (!all_owned(header.from)) {
    judge.fire(
        ref_, {550, "5.7.1", "From address not owned by the authenticated account", SpoofCheck::header_from});
  }
  if (!all_owned(header.sender)) {
    judge.fire(ref_, {550, "5.7.1", "Sender address in the header not owned by the authenticated account",
                      SpoofCheck::sender});
  }
  if (rule_.check_resent && !all_owned(header.resent_from)) {
    judge.fire(ref_, {550, "5.7.1", "Resent-From address not owned by the authenticated account",
                      SpoofCheck::sender});
  }
}

DomainCheck::DomainCheck(const Settings& settings, const NetworkIndex& ranges, std::uint16_t first_number)
    : rules_(settings.domain_rules), first_number_(first_number), index_(settings.networks, ranges) {
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const DomainRule& rule = rules_[i];
    domains_.emplace_back(rule.domains);
    if (rule.mode == Mode::off) continue;
    index_.add(static_cast<std::uint16_t>(i), {rule.listeners, rule.networks, rule.logins, rule.groups});
  }
}

void DomainCheck::mail(const ClientFacts& client, const smtp::Path& reverse_path, Judge& judge) const {
  if (index_.empty() || reverse_path.null) return;
  RuleList memory;
  for (const std::uint16_t i : index_.find(client, memory)) {
    if (in_domains(domains_[i], reverse_path.mailbox)) continue;
    const RuleRef ref{static_cast<std::uint16_t>(first_number_ + i), rules_[i].mode};
    if (judge.fire(ref, {553, "5.7.1", "Sender domain not allowed here: use an address of your own domain",
                         SpoofCheck::domain})) {
      return;
    }
  }
}

void DomainCheck::header(const ClientFacts& client, const smtp::HeaderFacts& header, Judge& judge) const {
  if (index_.empty()) return;
  RuleList memory;
  for (const std::uint16_t i : index_.find(client, memory)) {
    if (!rules_[i].check_header) continue;
    const DomainSet& allowed = domains_[i];
    if (all_in_domains(allowed, header.from) && all_in_domains(allowed, header.sender) &&
        all_in_domains(allowed, header.resent_from)) {
      continue;
    }
    const RuleRef ref{static_cast<std::uint16_t>(first_number_ + i), rules_[i].mode};
    if (judge.fire(ref,
                   {550, "5.7.1", "From or Sender domain not allowed here: use an address of your own domain",
                    SpoofCheck::domain})) {
      return;
    }
  }
}

}  // namespace portcullis::policy
