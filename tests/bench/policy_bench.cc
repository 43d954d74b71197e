// What the policies cost per message: the chain with few and with 1,000 rules, and the counters.
#include <benchmark/benchmark.h>

#include <array>
#include <string>
#include <vector>

#include "policy/chain.h"
#include "policy/lockout.h"
#include "policy/memory_counters.h"

namespace portcullis::policy {
namespace {

constexpr WallTime start{std::chrono::seconds{1'800'000'000}};

// `rules` rules, half of them domain rules and half usage rules, each for somebody: a login, a group
// or a network in turn. The benchmark's account is in one of the groups.
Settings settings(std::size_t rules) {
  Settings s;
  s.local_domains = {"example.com"};
  for (std::size_t i = 0; i < rules; ++i) {
    const std::string number = std::to_string(i);
    if (i % 2 == 0) {
      DomainRule rule{.name = "domain-" + number, .domains = {"example.com"}};
      if (i % 6 == 0) rule.logins = {"user" + number + "@example.com"};
      if (i % 6 == 2) rule.groups = {"group" + number};
      if (i % 6 == 4) {
        const auto high = std::to_string(i / 256), low = std::to_string(i % 256);
        s.networks.push_back(
            {.name = "net-" + number, .addresses = {*parse_network("10." + high + '.' + low + ".0/24")}});
        rule.networks = {"net-" + number};
      }
      s.domain_rules.push_back(std::move(rule));
    } else {
      s.usage.push_back(
          {.name = "usage-" + number, .groups = {"group" + number}, .message_bytes = 1'000'000});
    }
  }
  return s;
}

// All four stages of one message with one recipient.
void send(const Chain& chain, const ClientFacts& client, const smtp::Path& from, const smtp::Path& to,
          const smtp::HeaderFacts& header, ChargeList& charges) {
  static const smtp::MailParameters parameters = [] {
    smtp::MailParameters declared;
    declared.size_octets = 4096;
    return declared;
  }();
  TransactionFacts transaction{&from, &parameters, {}};
  charges = {};
  benchmark::DoNotOptimize(chain.mail(client, transaction, start));
  benchmark::DoNotOptimize(chain.rcpt(client, transaction, to, start, charges));
  transaction.recipients = {&to, 1};
  benchmark::DoNotOptimize(chain.header(client, transaction, header, start));
  benchmark::DoNotOptimize(chain.message(client, transaction, {.octets = 4096, .mime = {}}, start, charges));
  chain.settle(charges, true, start);
}

void run_chain(benchmark::State& state, Settings s) {
  MemoryCounters counters(200000);
  const Chain chain(std::move(s), counters);
  const Account account{"alice.liddell@example.com", {}, {"group2", "group501"}, "file"};
  ClientFacts client;
  client.address = *parse_ip("10.0.4.7");
  client.listener = "submission";
  client.account = &account;
  const smtp::Path from{.null = false, .mailbox = {"Alice.Liddell", "Example.COM"}, .utf8 = false};
  const smtp::Path to{.null = false, .mailbox = {"bob", "elsewhere.example"}, .utf8 = false};
  smtp::HeaderFacts header;
  header.from.push_back({"Alice", {"alice.liddell", "example.com"}});
  ChargeList charges;
  for (auto _ : state) send(chain, client, from, to, header, charges);
}

void BM_Message(benchmark::State& state) {
  run_chain(state, settings(static_cast<std::size_t>(state.range(0))));
}
BENCHMARK(BM_Message)->Arg(0)->Arg(10)->Arg(1000);

void BM_MessageWithThreeRates(benchmark::State& state) {
  Settings s = settings(0);
  s.rates = {
      {.name = "per-user-hour", .unit = RateUnit::messages, .amount = 1ULL << 60, .period_seconds = 3600},
      {.name = "per-user-day", .amount = 1ULL << 60},
      {.name = "per-net-bytes", .key = RateKey::client_net, .unit = RateUnit::bytes, .amount = 1ULL << 60}};
  run_chain(state, std::move(s));
}
BENCHMARK(BM_MessageWithThreeRates);

void BM_Charge(benchmark::State& state) {
  static MemoryCounters counters(200000);
  std::vector<std::string> keys;
  for (int i = 0; i < state.range(0); ++i) keys.push_back("user" + std::to_string(i) + "@example.com");
  std::size_t next = 0;
  for (auto _ : state) {
    next = (next + 7919) % keys.size();
    benchmark::DoNotOptimize(counters.charge({"limit", keys[next], 1, 1ULL << 60, 86400}, start, false));
  }
}
BENCHMARK(BM_Charge)->Arg(10)->Arg(100000)->ThreadRange(1, 2);

void BM_LockoutBefore(benchmark::State& state) {
  Lockout lockout({});
  lockout.succeeded(*parse_ip("192.0.2.1"), "alice@example.com", start);
  for (auto _ : state)
    benchmark::DoNotOptimize(lockout.before(*parse_ip("192.0.2.1"), "alice@example.com", start));
}
BENCHMARK(BM_LockoutBefore);

void BM_CanonicalLogin(benchmark::State& state) {
  const std::array<std::string, 2> logins = {"Alice.Liddell@Example.com", "J\u00fcrgen@B\u00fccher.example"};
  const std::string& login = logins.at(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(canonical_login(login));
}
BENCHMARK(BM_CanonicalLogin)->Arg(0)->Arg(1);

}  // namespace
}  // namespace portcullis::policy
