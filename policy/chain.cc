#include "policy/chain.h"

#include "policy/domain_set.h"
#include "policy/judge.h"
#include "policy/networks.h"
#include "policy/outside.h"
#include "policy/quota.h"
#include "policy/spoof.h"
#include "policy/usage.h"

namespace portcullis::policy {
namespace {

// Where each kind of rule begins in Chain::rule_names().
struct Numbers {
  explicit Numbers(const Settings& settings)
      : usage(static_cast<std::uint16_t>(domain + settings.domain_rules.size())),
        rate(static_cast<std::uint16_t>(usage + settings.usage.size())),
        connections(static_cast<std::uint16_t>(rate + settings.rates.size())),
        strictness(static_cast<std::uint16_t>(connections + 1)) {}
  std::uint16_t identity = 0;
  std::uint16_t outside = 1;  // and relay, 2
  std::uint16_t domain = 3;
  std::uint16_t usage;
  std::uint16_t rate;
  std::uint16_t connections;
  std::uint16_t strictness;
};

std::vector<std::string> names_of(const Settings& settings) {
  std::vector<std::string> names = {settings.identity.name, settings.outside.spoof_name,
                                    settings.outside.relay_name};
  for (const auto& rule : settings.domain_rules) names.push_back(rule.name);
  for (const auto& rule : settings.usage) names.push_back(rule.name);
  for (const auto& rule : settings.rates) names.push_back(rule.name);
  names.push_back(settings.connections.name);
  for (const StrictnessRow& row : strictness_rows()) names.emplace_back(row.name);
  return names;
}

}  // namespace

struct Chain::Checks {
  Checks(const Settings& settings, CounterStore& counters)
      : numbers(settings),
        local_domains(settings.local_domains),
        ranges(settings.networks),
        identity(settings.identity, numbers.identity),
        outside(settings, ranges, local_domains, numbers.outside),
        domain(settings, ranges, numbers.domain),
        usage(settings, ranges, numbers.usage),
        quota(settings, ranges, counters, numbers.rate),
        strictness(strictness_modes(settings)) {}

  Numbers numbers;
  DomainSet local_domains;
  NetworkIndex ranges;
  IdentityCheck identity;
  OutsideCheck outside;
  DomainCheck domain;
  UsageCheck usage;
  QuotaCheck quota;
  std::array<Mode, smtp::strictness_count> strictness;
};

Chain::Chain(Settings settings, CounterStore& counters)
    : settings_(std::move(settings)),
      rule_names_(names_of(settings_)),
      checks_(std::make_unique<Checks>(settings_, counters)) {}

Chain::~Chain() = default;

std::uint16_t Chain::connections_rule() const { return checks_->numbers.connections; }

Verdict Chain::mail(const ClientFacts& client, const TransactionFacts& transaction, WallTime) const {
  Judge judge(Stage::mail);
  if (client.account != nullptr) {
    checks_->identity.mail(*client.account, *transaction.reverse_path, judge);
  } else {
    checks_->outside.mail(client.address, *transaction.reverse_path, judge);
  }
  if (!judge.decided()) checks_->domain.mail(client, *transaction.reverse_path, judge);
  if (!judge.decided()) checks_->usage.mail(client, transaction, judge);
  return judge.take();
}

Verdict Chain::rcpt(const ClientFacts& client, const TransactionFacts& transaction,
                    const smtp::Path& recipient, WallTime now, ChargeList& charges) const {
  Judge judge(Stage::rcpt);
  if (client.account == nullptr) checks_->outside.rcpt(client.address, recipient, judge);
  if (!judge.decided()) checks_->usage.rcpt(client, transaction, judge);
  if (!judge.decided()) checks_->quota.rcpt(client, transaction, now, charges, judge);
  return judge.take();
}

Verdict Chain::header(const ClientFacts& client, const TransactionFacts& transaction,
                      const smtp::HeaderFacts& header, WallTime) const {
  Judge judge(Stage::header);
  if (client.account != nullptr) {
    checks_->identity.header(*client.account, *transaction.reverse_path, header, judge);
  } else {
    checks_->outside.header(client.address, header, judge);
  }
  if (!judge.decided()) checks_->domain.header(client, *transaction.reverse_path, header, judge);
  if (!judge.decided()) checks_->usage.header(client, header, judge);
  return judge.take();
}

Verdict Chain::message(const ClientFacts& client, const TransactionFacts& transaction,
                       const ContentFacts& content, WallTime now, ChargeList& charges) const {
  Judge judge(Stage::message);
  checks_->usage.message(client, content, judge);
  if (!judge.decided()) checks_->quota.message(client, transaction, content.octets, now, charges, judge);
  return judge.take();
}

std::uint64_t Chain::message_octets_allowed(const ClientFacts& client) const {
  return checks_->usage.message_octets_allowed(client);
}

void Chain::settle(const ChargeList& charges, bool accepted, WallTime now) const {
  if (!accepted) checks_->quota.refund(charges, now);
}

Verdict Chain::strict(Stage stage, smtp::Strictness rule, const smtp::Reply& reply) const {
  Judge judge(stage);
  const auto index = static_cast<std::uint16_t>(rule);
  const RuleRef ref{static_cast<std::uint16_t>(checks_->numbers.strictness + index),
                    checks_->strictness[index]};
  judge.fire(ref, {reply.code, reply.enhanced, reply.text});
  return judge.take();
}

bool Chain::is_local_domain(std::string_view canonical_domain) const {
  return checks_->local_domains.contains(canonical_domain);
}

Network Chain::permissions(const IpAddress& address) const {
  Network merged;
  checks_->ranges.visit(address, [&](std::uint16_t i) {
    const Network& network = settings_.networks[i];
    if (merged.name.empty()) merged.name = network.name;
    merged.may_relay |= network.may_relay;
    merged.may_use_local_senders |= network.may_use_local_senders;
    merged.may_auth_without_tls |= network.may_auth_without_tls;
    merged.may_send_proxy_header |= network.may_send_proxy_header;
    merged.may_send_xclient |= network.may_send_xclient;
    merged.may_send_xforward |= network.may_send_xforward;
    merged.exempt_from_connection_limits |= network.exempt_from_connection_limits;
  });
  return merged;
}

}  // namespace portcullis::policy
