#include "policy/outside.h"

#include <algorithm>

#include "smtp/ascii.h"

namespace portcullis::policy {

OutsideCheck::OutsideCheck(const Settings& settings, const NetworkIndex& ranges,
                           const DomainSet& local_domains, std::uint16_t number)
    : settings_(settings),
      ranges_(ranges),
      local_domains_(local_domains),
      spoof_{number, settings.outside.spoof_mode},
      relay_{static_cast<std::uint16_t>(number + 1), Mode::enforce} {}

void OutsideCheck::mail(const IpAddress& client, const smtp::Path& reverse_path, Judge& judge) const {
  if (spoof_.mode == Mode::off || reverse_path.null || !claims_local(reverse_path.mailbox)) return;
  if (allowed(client, &Network::may_use_local_senders)) return;
  judge.fire(spoof_, {553, "5.7.1", "Sender address is of a domain served here: log in to use it",
                      SpoofCheck::unauth_local, &reverse_path.mailbox});
}

void OutsideCheck::header(const IpAddress& client, const smtp::HeaderFacts& header, Judge& judge) const {
  if (spoof_.mode == Mode::off) return;
  const smtp::Mailbox* author = first_local(header.from);
  if (author == nullptr) author = first_local(header.sender);
  const smtp::Mailbox* local = author;
  if (local == nullptr && settings_.outside.check_resent) local = first_local(header.resent_from);
  if (local == nullptr || allowed(client, &Network::may_use_local_senders)) return;
  judge.fire(spoof_,
             {550, "5.7.1",
              author != nullptr
                  ? "From or Sender address is of a domain served here: log in to use it"
                  : "Resent-From or Resent-Sender address is of a domain served here: log in to use it",
              SpoofCheck::unauth_local, local});
}

void OutsideCheck::rcpt(const IpAddress& client, const smtp::Path& recipient, Judge& judge) const {
  const smtp::Mailbox& mailbox = recipient.mailbox;
  if (mailbox.domain.empty()) return;  // the bare <Postmaster>, RFC 5321 4.5.1
  std::array<char, smtp::limits::domain_octets> buffer;
  const std::size_t size = write_canonical_domain(mailbox.domain, buffer);
  const bool local = size != 0 && local_domains_.contains({buffer.data(), size});
  // A mark that another character stands for ("@" as U+FF20) may be one to the upstream.
  const bool routed =
      std::ranges::any_of(mailbox.local, [](char c) { return c == '@' || c == '%' || c == '!'; }) ||
      (smtp::has_eight_bit(mailbox.local) && !canonical_local_part(mailbox.local));
  if ((local && !routed) || allowed(client, &Network::may_relay)) return;
  judge.fire(relay_, {550, "5.7.1",
                      local ? "Routed recipient addresses are not accepted: use the final address"
                            : "Relaying not allowed: log in to send to other domains"});
}

bool OutsideCheck::claims_local(const smtp::Mailbox& mailbox) const {
  std::array<char, smtp::limits::domain_octets> buffer;
  const std::size_t size = write_canonical_domain(mailbox.domain, buffer);
  return size == 0 || local_domains_.contains({buffer.data(), size});
}

const smtp::Mailbox* OutsideCheck::first_local(const std::vector<smtp::HeaderMailbox>& mailboxes) const {
  const auto found =
      std::ranges::find_if(mailboxes, [&](const auto& each) { return claims_local(each.mailbox); });
  return found == mailboxes.end() ? nullptr : &found->mailbox;
}

bool OutsideCheck::allowed(const IpAddress& client, bool Network::* permission) const {
  bool found = false;
  ranges_.visit(client,
                [&](std::uint16_t network) { found = found || settings_.networks[network].*permission; });
  return found;
}

}  // namespace portcullis::policy
