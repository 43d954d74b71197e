#include "policy/quota.h"

#include <algorithm>
#include <vector>

#include "policy/rate.h"

namespace portcullis::policy {
namespace {

constexpr std::uint8_t client_ip_v4_bits = 32;
constexpr std::uint8_t client_ip_v6_bits = 64;  // one customer's link: addresses inside are free to choose
constexpr std::uint8_t client_net_v4_bits = 24;
constexpr std::uint8_t client_net_v6_bits = 48;  // one site

// The key of a rule for one session, without an allocation.
class Key {
 public:
  std::string_view of(RateKey key, const ClientFacts& client, const TransactionFacts& transaction) {
    switch (key) {
      case RateKey::login:
        return client.account == nullptr ? std::string_view{} : client.account->counted_as();
      case RateKey::client_ip:
        return network(client.address, client_ip_v4_bits, client_ip_v6_bits);
      case RateKey::client_net:
        return network(client.address, client_net_v4_bits, client_net_v6_bits);
      case RateKey::reverse_path_domain:
        return domain(client, transaction);
    }
    return {};
  }

 private:
  std::string_view network(const IpAddress& address, std::uint8_t v4_bits, std::uint8_t v6_bits) {
    const IpAddress base = network_of(address, v4_bits, v6_bits).base;
    return format_ip(base, std::span(buffer_).first<ip_text_octets>());
  }
  // After a login a null reverse-path counts for the domain of the login.
  std::string_view domain(const ClientFacts& client, const TransactionFacts& transaction) {
    const smtp::Path* path = transaction.reverse_path;
    if (path == nullptr) return {};
    std::string_view domain = path->mailbox.domain;
    if (path->null) {
      if (client.account == nullptr) return {};
      const std::string_view login = client.account->login;
      domain = login.substr(std::min(login.rfind('@'), login.size() - 1) + 1);
    }
    return {buffer_.data(), write_canonical_domain(domain, buffer_)};
  }
  std::array<char, smtp::limits::domain_octets> buffer_;
};

bool is_exempt(const RateRule& rule, const Account* account) {
  return account != nullptr && std::ranges::any_of(rule.exempt_groups, [&](const std::string& group) {
           return std::ranges::find(account->groups, group) != account->groups.end();
         });
}

std::string in_words(std::uint32_t seconds) {
  const auto up = [seconds](std::uint32_t unit) { return std::to_string((seconds + unit - 1) / unit); };
  if (seconds == 1) return "a second";
  if (seconds <= 90) return up(1) + " seconds";
  if (seconds <= 5400) return up(60) + " minutes";
  return up(3600) + " hours";
}

std::string_view name_of(RateUnit unit) {
  switch (unit) {
    case RateUnit::messages:
      return "Message";
    case RateUnit::recipients:
      return "Recipient";
    case RateUnit::bytes:
      return "Size";
  }
  return {};
}

}  // namespace

QuotaCheck::QuotaCheck(const Settings& settings, const NetworkIndex& ranges, CounterStore& counters,
                       std::uint16_t first_number)
    : rules_(settings.rates),
      counters_(counters),
      first_number_(first_number),
      index_(settings.networks, ranges) {
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    if (rules_[i].mode == Mode::off) continue;
    index_.add(static_cast<std::uint16_t>(i), {rules_[i].listeners, {}, {}, {}});
  }
}

void QuotaCheck::rcpt(const ClientFacts& client, const TransactionFacts& transaction, WallTime now,
                      ChargeList& charges, Judge& judge) const {
  if (index_.empty()) return;
  if (transaction.recipients.empty()) judge_declared_size(client, transaction, now, judge);
  if (judge.decided()) return;
  charge_all(client, transaction, 1, now, charges, judge,
             [&](std::uint16_t i, const ChargeList::Item* earlier) {
               if (rules_[i].unit == RateUnit::recipients) return true;
               return rules_[i].unit == RateUnit::messages && (earlier == nullptr || earlier->amount == 0);
             });
}

void QuotaCheck::message(const ClientFacts& client, const TransactionFacts& transaction, std::uint64_t octets,
                         WallTime now, ChargeList& charges, Judge& judge) const {
  if (index_.empty()) return;
  charge_all(client, transaction, octets, now, charges, judge,
             [&](std::uint16_t i, const ChargeList::Item* earlier) {
               return rules_[i].unit == RateUnit::bytes && earlier == nullptr;
             });
}

template <typename Counts>
void QuotaCheck::charge_all(const ClientFacts& client, const TransactionFacts& transaction,
                            std::uint64_t amount, WallTime now, ChargeList& charges, Judge& judge,
                            Counts&& counts) const {
  RuleList memory, charged;
  Key keys;
  // The client is the same during a transaction, and so are the rules that apply: each has a fixed position.
  const std::span<const std::uint16_t> applying = index_.find(client, memory);
  for (std::size_t position = 0; position < applying.size(); ++position) {
    const std::uint16_t i = applying[position];
    ChargeList::Item* item = charges.find_latest(position, i);
    if (!counts(i, item) || is_exempt(rules_[i], client.account)) continue;
    const std::string_view key = keys.of(rules_[i].key, client, transaction);
    if (key.empty()) continue;
    const auto outcome = counters_.charge(charge_of(i, key, amount), now, false);
    if (!outcome) {
      if (rules_[i].on_error == OnError::defer) {
        judge.fire(ref(i),
                   {451, "4.3.0", "Sending limits can not be checked at the moment: try again later"});
      }
    } else if (!outcome->within) {
      fire_over(i, amount, outcome->retry_after_seconds, judge);
    } else {
      charged.add(static_cast<std::uint16_t>(position));
      if (item != nullptr && RateWindow::in_one_slot(rules_[i].period_seconds, item->at, now)) {
        item->amount += amount;
      } else {
        charges.add(position, {i, 0, std::string(key), amount, now});
      }
    }
    if (judge.decided()) {
      undo(charged.view(), applying, amount, now, charges);
      return;
    }
  }
}

void QuotaCheck::judge_declared_size(const ClientFacts& client, const TransactionFacts& transaction,
                                     WallTime now, Judge& judge) const {
  if (transaction.mail_parameters == nullptr || !transaction.mail_parameters->size_octets) return;
  const std::uint64_t declared = *transaction.mail_parameters->size_octets;
  RuleList memory;
  Key keys;
  for (const std::uint16_t i : index_.find(client, memory)) {
    const RateRule& rule = rules_[i];
    // In shadow mode the real size is judged, once.
    if (rule.unit != RateUnit::bytes || rule.mode != Mode::enforce || is_exempt(rule, client.account))
      continue;
    const std::string_view key = keys.of(rule.key, client, transaction);
    if (key.empty()) continue;
    const auto outcome = counters_.peek(charge_of(i, key, declared), now);
    if (outcome && !outcome->within) fire_over(i, declared, outcome->retry_after_seconds, judge);
    if (judge.decided()) return;
  }
}

void QuotaCheck::fire_over(std::uint16_t i, std::uint64_t amount, std::uint32_t retry_after_seconds,
                           Judge& judge) const {
  const RateRule& rule = rules_[i];
  if (amount > rule.amount) {  // no waiting helps
    if (rule.unit == RateUnit::bytes) {
      judge.fire(ref(i), {552, "5.3.4", "Message larger than the whole size limit of a period: send less"});
    } else {
      judge.fire(ref(i), {550, "5.7.1", "Sending is not allowed for you: ask the administrator"});
    }
    return;
  }
  // A charge counts up to one slot longer than the period; "in 64 minutes" for an hourly limit reads like a
  // mistake.
  const std::string text = std::string(name_of(rule.unit)) + " limit reached: try again in " +
                           in_words(std::min(retry_after_seconds, rule.period_seconds));
  // 452 for recipients: a sending server keeps those it got through and comes back for the rest.
  const std::uint16_t code = rule.unit == RateUnit::recipients ? 452 : 450;
  judge.fire(ref(i), {code, "4.7.1", text});
}

void QuotaCheck::undo(std::span<const std::uint16_t> positions, std::span<const std::uint16_t> applying,
                      std::uint64_t amount, WallTime now, ChargeList& charges) const {
  for (const std::uint16_t position : positions) {
    const std::uint16_t i = applying[position];
    ChargeList::Item* item = charges.find_latest(position, i);
    counters_.refund(charge_of(i, item->key, amount), item->at, now);
    item->amount -= amount;
  }
}

void QuotaCheck::refund(const ChargeList& charges, WallTime now) const {
  // Of each rate of recipients: how many that the upstream was asked about are still to be passed over.
  std::vector<std::uint64_t> asked(charges.latest.size(), charges.asked);
  for (const ChargeList::Item& item : charges.items) {
    std::uint64_t kept = 0;
    switch (rules_[item.rate].unit) {
      case RateUnit::messages:
        kept = charges.asked > 0 ? item.amount : 0;
        break;
      case RateUnit::recipients:
        kept = std::min(item.amount, asked[item.position]);
        asked[item.position] -= kept;
        break;
      case RateUnit::bytes:
        break;
    }
    if (item.amount > kept) {
      counters_.refund(charge_of(item.rate, item.key, item.amount - kept), item.at, now);
    }
  }
}

CounterStore::Charge QuotaCheck::charge_of(std::uint16_t i, std::string_view key,
                                           std::uint64_t amount) const {
  const RateRule& rule = rules_[i];
  return {rule.name, key, amount, rule.amount, rule.period_seconds};
}

RuleRef QuotaCheck::ref(std::uint16_t i) const {
  return {static_cast<std::uint16_t>(first_number_ + i), rules_[i].mode};
}

}  // namespace portcullis::policy
