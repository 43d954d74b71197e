// All policies in their order, one call a stage. Pure but for the counters behind CounterStore.
// One Chain is built per configuration snapshot and shared by all workers (calls are const and
// thread-safe).
//
//   auto v = chain.mail(client, transaction, now);          // at MAIL: identity, domain, size
//   auto v = chain.rcpt(client, transaction, recipient, now, charges);  // relay, usage, rates
//   auto v = chain.header(client, transaction, facts, now); // From/Sender ownership, visible rcpts
//   auto v = chain.message(client, transaction, content, now, charges); // real size, attachments, bytes
//   chain.settle(charges, accepted, now);                   // always, once, when the transaction ends
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "policy/charges.h"
#include "policy/counters.h"
#include "policy/facts.h"
#include "policy/settings.h"
#include "policy/verdict.h"

namespace portcullis::policy {

class Chain {
 public:
  // `settings` must be checked already; `counters` outlives the chain.
  Chain(Settings settings, CounterStore& counters);
  ~Chain();

  // Names of every rule in a fixed order: Hit::rule and Verdict::rule index into it.
  const std::vector<std::string>& rule_names() const { return rule_names_; }
  // The number of ConnectionRule among them, for hits at Stage::connect.
  std::uint16_t connections_rule() const;
  const Settings& settings() const { return settings_; }

  Verdict mail(const ClientFacts& client, const TransactionFacts& transaction, WallTime now) const;
  Verdict rcpt(const ClientFacts& client, const TransactionFacts& transaction, const smtp::Path& recipient,
               WallTime now, ChargeList& charges) const;
  Verdict header(const ClientFacts& client, const TransactionFacts& transaction,
                 const smtp::HeaderFacts& header, WallTime now) const;
  Verdict message(const ClientFacts& client, const TransactionFacts& transaction, const ContentFacts& content,
                  WallTime now, ChargeList& charges) const;
  // Called while the body streams: has the content grown past what any usage rule in `enforce`
  // allows this client? Cheap.
  std::uint64_t message_octets_allowed(const ClientFacts& client) const;
  // `accepted`: the upstream took the message. See charges.h for what comes back when it did not.
  void settle(const ChargeList& charges, bool accepted, WallTime now) const;

  bool is_local_domain(std::string_view canonical_domain) const;
  // All permissions of the networks `address` is in, merged; the name is one of theirs.
  Network permissions(const IpAddress& address) const;

  // A strictness rule fired at `stage`; `reply` is what refuses where it is enforced.
  Verdict strict(Stage stage, smtp::Strictness rule, const smtp::Reply& reply) const;

 private:
  struct Checks;
  Settings settings_;
  std::vector<std::string> rule_names_;
  std::unique_ptr<const Checks> checks_;
};

}  // namespace portcullis::policy
