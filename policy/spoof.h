// Rules about the sender: the identity rule for authenticated clients (4.1), domain rules for all
// (4.2). Envelope at MAIL (553 5.7.1), From, Sender and Resent fields at the header (550 5.7.1).
#pragma once

#include <vector>

#include "policy/domain_set.h"
#include "policy/facts.h"
#include "policy/judge.h"
#include "policy/ownership.h"
#include "policy/rule_index.h"
#include "policy/settings.h"

namespace portcullis::policy {

class IdentityCheck {
 public:
  IdentityCheck(const IdentityRule& rule, std::uint16_t number);
  void mail(const Account& account, const smtp::Path& reverse_path, Judge& judge) const;
  // The header of a message with a null reverse-path is looked at whatever `check_header` says: nothing else
  // names its sender.
  void header(const Account& account, const smtp::Path& reverse_path, const smtp::HeaderFacts& header,
              Judge& judge) const;

 private:
  const IdentityRule& rule_;
  RuleRef ref_;
  Ownership ownership_;
};

class DomainCheck {
 public:
  DomainCheck(const Settings& settings, const NetworkIndex& ranges, std::uint16_t first_number);
  void mail(const ClientFacts& client, const smtp::Path& reverse_path, Judge& judge) const;
  // Likewise, for clients that logged in.
  void header(const ClientFacts& client, const smtp::Path& reverse_path, const smtp::HeaderFacts& header,
              Judge& judge) const;

 private:
  const std::vector<DomainRule>& rules_;
  std::uint16_t first_number_;
  std::vector<DomainSet> domains_;
  RuleIndex index_;
};

}  // namespace portcullis::policy
