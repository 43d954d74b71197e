// Mail without AUTH (4.3): nobody outside uses our domains as sender, nobody outside relays. Both
// may be allowed to named networks.
#pragma once

#include "policy/domain_set.h"
#include "policy/facts.h"
#include "policy/judge.h"
#include "policy/networks.h"
#include "policy/settings.h"

namespace portcullis::policy {

class OutsideCheck {
 public:
  // Rule `number` is the spoof rule, the next one the relay rule.
  OutsideCheck(const Settings& settings, const NetworkIndex& ranges, const DomainSet& local_domains,
               std::uint16_t number);

  // All three are for unauthenticated clients. A sender domain that has no canonical form counts as
  // a local one: it can not be told what a mail reader will make of it.
  void mail(const IpAddress& client, const smtp::Path& reverse_path, Judge& judge) const;
  // From and Sender, and the Resent fields unless the settings leave them out.
  void header(const IpAddress& client, const smtp::HeaderFacts& header, Judge& judge) const;
  // Always enforced. Also refuses a local recipient whose local part holds a route
  // ("victim%elsewhere", "elsewhere!victim", "victim@elsewhere"): the upstream trusts the gateway's
  // address and might follow it.
  void rcpt(const IpAddress& client, const smtp::Path& recipient, Judge& judge) const;

 private:
  bool claims_local(const smtp::Mailbox& mailbox) const;
  const smtp::Mailbox* first_local(const std::vector<smtp::HeaderMailbox>& mailboxes) const;
  bool allowed(const IpAddress& client, bool Network::* permission) const;

  const Settings& settings_;
  const NetworkIndex& ranges_;
  const DomainSet& local_domains_;
  RuleRef spoof_, relay_;
};

}  // namespace portcullis::policy
