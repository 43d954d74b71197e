// A client, a transaction and a store for tests of the chain, with the defaults of a plain session.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "policy/chain.h"
#include "policy/memory_counters.h"

namespace portcullis::policy::test {

inline constexpr WallTime start{std::chrono::seconds{1'800'000'000}};

inline smtp::Path path(std::string_view address) {
  smtp::Path result;
  if (address.empty()) {
    result.null = true;
    return result;
  }
  const auto at = address.rfind('@');
  result.mailbox.local = address.substr(0, at);
  if (at != address.npos) result.mailbox.domain = address.substr(at + 1);
  return result;
}

inline smtp::HeaderMailbox header_mailbox(std::string_view address) { return {"", path(address).mailbox}; }

inline smtp::HeaderFacts header_from(std::string_view from) {
  smtp::HeaderFacts header;
  header.from.push_back(header_mailbox(from));
  return header;
}

// One session as the program would lead it: keeps what the chain needs between the stages.
struct Session {
  ClientFacts client;
  TransactionFacts transaction;
  smtp::Path reverse_path;
  smtp::MailParameters parameters;
  std::vector<smtp::Path> recipients;
  ChargeList charges;
  Account account;

  explicit Session(std::string_view address = "203.0.113.9") {
    client.address = *parse_ip(address);
    client.listener = "submission";
    transaction.reverse_path = &reverse_path;
    transaction.mail_parameters = &parameters;
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // `addresses` with a wildcard are an administrator's.
  Session& login(std::string_view name, const std::vector<std::string>& addresses = {},
                 std::vector<std::string> groups = {}) {
    account = {.login = std::string(name), .groups = std::move(groups), .backend = "file"};
    for (const std::string& text : addresses) {
      if (text.starts_with("*@")) {
        account.patterns.push_back(AddressPattern::parse(text).value());
      } else {
        account.addresses.push_back(text);
      }
    }
    client.account = &account;
    return *this;
  }
  Verdict mail(const Chain& chain, std::string_view from, WallTime now = start) {
    reverse_path = path(from);
    recipients.clear();
    transaction.recipients = {};
    charges = {};
    return chain.mail(client, transaction, now);
  }
  // An accepted recipient is kept, as if the upstream took it.
  Verdict rcpt(const Chain& chain, std::string_view to, WallTime now = start) {
    auto verdict = chain.rcpt(client, transaction, path(to), now, charges);
    if (verdict.action == Action::accept) recipients.push_back(path(to));
    transaction.recipients = recipients;
    return verdict;
  }
  Verdict header(const Chain& chain, const smtp::HeaderFacts& facts) {
    return chain.header(client, transaction, facts, start);
  }
  Verdict message(const Chain& chain, const ContentFacts& content, WallTime now = start) {
    return chain.message(client, transaction, content, now, charges);
  }
};

// "553 5.7.1 identity" or "accept": what a table of cases compares. Also asserts what holds for all
// verdicts: the deciding hit is last and enforced, texts name no rule.
inline std::string outcome(const Chain& chain, const Verdict& verdict) {
  if (verdict.action == Action::accept) return "accept";
  const std::string& rule = chain.rule_names().at(verdict.rule);
  if (verdict.hits.empty() || verdict.hits.back().rule != verdict.rule ||
      verdict.hits.back().mode != Mode::enforce || verdict.hits.back().action != verdict.action) {
    return "deciding hit is missing";
  }
  if (verdict.reply.text.empty() || verdict.reply.text.contains(rule))
    return "bad text: " + verdict.reply.text;
  const bool transient = verdict.reply.code < 500;
  if (transient != (verdict.action == Action::defer)) return "action and code differ";
  if (verdict.reply.enhanced.front() != (transient ? '4' : '5')) return "enhanced code differs";
  return std::to_string(verdict.reply.code) + ' ' + verdict.reply.enhanced + ' ' + rule;
}

// "shadow identity mail envelope" for each hit.
inline std::string hits(const Chain& chain, const Verdict& verdict) {
  std::string text;
  for (const Hit& hit : verdict.hits) {
    text += std::string(name_of(hit.mode)) + ' ' + std::string(name_of(hit.action)) + ' ' +
            chain.rule_names().at(hit.rule) + ' ' + std::string(name_of(hit.stage)) + ' ' +
            std::string(name_of(hit.spoof)) + '\n';
  }
  return text;
}

// A store whose answers fail when told so.
class BrokenStore final : public CounterStore {
 public:
  std::expected<Outcome, StoreError> charge(const Charge&, WallTime, bool) override {
    return std::unexpected(StoreError::unavailable);
  }
  void refund(const Charge&, WallTime, WallTime) override { ++refunds; }
  std::expected<Outcome, StoreError> peek(const Charge&, WallTime) const override {
    return std::unexpected(StoreError::unavailable);
  }
  int refunds = 0;
};

}  // namespace portcullis::policy::test
