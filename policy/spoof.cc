#include "policy/spoof.h"

#include <algorithm>

namespace portcullis::policy {
namespace {

bool in_domains(const DomainSet& domains, const smtp::Mailbox& mailbox) {
  std::array<char, smtp::limits::domain_octets> buffer;
  const std::size_t size = write_canonical_domain(mailbox.domain, buffer);
  return size != 0 && domains.contains({buffer.data(), size});
}

// The first mailbox for which `good` is false.
template <typename Good>
const smtp::Mailbox* first_bad(const std::vector<smtp::HeaderMailbox>& mailboxes, Good&& good) {
  const auto bad = std::ranges::find_if_not(mailboxes, [&](const auto& each) { return good(each.mailbox); });
  return bad == mailboxes.end() ? nullptr : &bad->mailbox;
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
    judge.fire(ref_, {553, "5.7.1", "Sender address not owned by the authenticated account",
                      SpoofCheck::envelope, &reverse_path.mailbox});
  }
}

void IdentityCheck::header(const Account& account, const smtp::Path& reverse_path,
                           const smtp::HeaderFacts& header, Judge& judge) const {
  if (rule_.mode == Mode::off || !(rule_.check_header || reverse_path.null)) return;
  const auto foreign = [&](const std::vector<smtp::HeaderMailbox>& mailboxes) {
    return first_bad(mailboxes, [&](const auto& mailbox) { return ownership_.owns(account, mailbox); });
  };
  const smtp::Mailbox* author = foreign(header.from);
  if (author != nullptr || (reverse_path.null && header.from.empty())) {
    judge.fire(ref_, {550, "5.7.1", "From address not owned by the authenticated account",
                      SpoofCheck::header_from, author});
  }
  if (const smtp::Mailbox* bad = foreign(header.sender)) {
    judge.fire(ref_, {550, "5.7.1", "Sender address in the header not owned by the authenticated account",
                      SpoofCheck::sender, bad});
  }
  if (const smtp::Mailbox* bad = rule_.check_resent ? foreign(header.resent_from) : nullptr) {
    judge.fire(ref_, {550, "5.7.1", "Resent-From address not owned by the authenticated account",
                      SpoofCheck::sender, bad});
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
                         SpoofCheck::domain, &reverse_path.mailbox})) {
      return;
    }
  }
}

void DomainCheck::header(const ClientFacts& client, const smtp::Path& reverse_path,
                         const smtp::HeaderFacts& header, Judge& judge) const {
  if (index_.empty()) return;
  RuleList memory;
  for (const std::uint16_t i : index_.find(client, memory)) {
    if (!rules_[i].check_header && !(reverse_path.null && client.account != nullptr)) continue;
    const DomainSet& allowed = domains_[i];
    const auto inside = [&](const auto& mailbox) { return in_domains(allowed, mailbox); };
    const smtp::Mailbox* bad = first_bad(header.from, inside);
    if (bad == nullptr) bad = first_bad(header.sender, inside);
    if (bad == nullptr) bad = first_bad(header.resent_from, inside);
    if (bad == nullptr) continue;
    const RuleRef ref{static_cast<std::uint16_t>(first_number_ + i), rules_[i].mode};
    if (judge.fire(ref,
                   {550, "5.7.1", "From or Sender domain not allowed here: use an address of your own domain",
                    SpoofCheck::domain, bad})) {
      return;
    }
  }
}

}  // namespace portcullis::policy
