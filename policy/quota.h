// Rate rules (4.5): which apply, what they are keyed by, what they charge and give back.
//
// Messages are charged once, at the first recipient that comes this far; recipients one each, when
// they pass; bytes once, when the whole message is known and everything else let it pass. A
// recipient or message that a rule refuses leaves no charge behind: what earlier rules charged for
// it in the same call is given back at once. In shadow mode a rule counts exactly as if it were
// enforced (what it would have refused is not charged), so that its hits tell the truth.
//
// Keys: the canonical login; an IPv4 address or an IPv6 /64 (client_ip); an IPv4 /24 or IPv6 /48
// (client_net); the canonical domain of the reverse-path. A rule whose key the session does not have
// (no login, null reverse-path) does not apply: bounces are never counted by sender domain.
#pragma once

#include <string_view>
#include <vector>

#include "policy/charges.h"
#include "policy/counters.h"
#include "policy/facts.h"
#include "policy/judge.h"
#include "policy/rule_index.h"
#include "policy/settings.h"

namespace portcullis::policy {

class QuotaCheck {
 public:
  QuotaCheck(const Settings& settings, const NetworkIndex& ranges, CounterStore& counters,
             std::uint16_t first_number);

  void rcpt(const ClientFacts& client, const TransactionFacts& transaction, WallTime now, ChargeList& charges,
            Judge& judge) const;
  void message(const ClientFacts& client, const TransactionFacts& transaction, std::uint64_t octets,
               WallTime now, ChargeList& charges, Judge& judge) const;
  // Of a transaction whose message was not accepted: gives back what was not used (charges.h).
  void refund(const ChargeList& charges, WallTime now) const;

 private:
  // Charges `amount` to every applying rule that `counts(rule, its earlier item)` accepts; undoes it all when
  // decided.
  template <typename Counts>
  void charge_all(const ClientFacts& client, const TransactionFacts& transaction, std::uint64_t amount,
                  WallTime now, ChargeList& charges, Judge& judge, Counts&& counts) const;
  // Refuses early what a declared SIZE says will not fit: nobody uploads for nothing.
  void judge_declared_size(const ClientFacts& client, const TransactionFacts& transaction, WallTime now,
                           Judge& judge) const;
  void fire_over(std::uint16_t i, std::uint64_t amount, std::uint32_t retry_after_seconds,
                 Judge& judge) const;
  // `positions`: of the rules among `applying`.
  void undo(std::span<const std::uint16_t> positions, std::span<const std::uint16_t> applying,
            std::uint64_t amount, WallTime now, ChargeList& charges) const;
  CounterStore::Charge charge_of(std::uint16_t i, std::string_view key, std::uint64_t amount) const;
  RuleRef ref(std::uint16_t i) const;

  const std::vector<RateRule>& rules_;
  CounterStore& counters_;
  std::uint16_t first_number_;
  RuleIndex index_;
};

}  // namespace portcullis::policy
