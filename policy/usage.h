// How much one message and one session may hold (4.4). A rule applies to the listeners and groups it
// names; of several that apply each is asked, so the smallest limit wins.
#pragma once

#include <vector>

#include "policy/facts.h"
#include "policy/judge.h"
#include "policy/rule_index.h"
#include "policy/settings.h"

namespace portcullis::policy {

class UsageCheck {
 public:
  UsageCheck(const Settings& settings, const NetworkIndex& ranges, std::uint16_t first_number);

  void mail(const ClientFacts& client, const TransactionFacts& transaction, Judge& judge) const;
  void rcpt(const ClientFacts& client, const TransactionFacts& transaction, Judge& judge) const;
  void header(const ClientFacts& client, const smtp::HeaderFacts& header, Judge& judge) const;
  void message(const ClientFacts& client, const ContentFacts& content, Judge& judge) const;
  // The smallest enforced message_bytes; the largest number there is when none applies.
  std::uint64_t message_octets_allowed(const ClientFacts& client) const;

 private:
  // Calls `ask(rule, ref)` for each rule of `index` that applies until one returns true.
  template <typename Ask>
  void each(const RuleIndex& index, const ClientFacts& client, Ask&& ask) const;

  const std::vector<UsageRule>& rules_;
  std::uint16_t first_number_;
  RuleIndex mail_, rcpt_, header_, message_;  // rules that limit something at the stage
};

}  // namespace portcullis::policy
