// Does the work for a message grow with its size, or with the square of its size? Each subject is done with
// n, 2n and 4n of one thing, under a tool that counts instructions (tests/growth/test_growth.py).
//
//   growth SUBJECT COUNT
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "policy/chain.h"
#include "policy/memory_counters.h"
#include "smtp/authentication_results.h"
#include "smtp/header.h"
#include "smtp/mime.h"
#include "tests/proxy/session/harness.h"

namespace portcullis {
namespace {

// --- what is done -----------------------------------------------------------------------------------------

std::string repeated(std::size_t count, const std::function<std::string(std::size_t)>& piece) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += piece(i);
  return all;
}

// Recipients in one group; the upstream answers one at a time.
void recipients(std::size_t count) {
  session::testing::Setup setup;
  setup.errors = std::numeric_limits<std::uint32_t>::max();
  session::testing::Harness harness(setup);
  harness.start();
  harness.client("EHLO client.test\r\nMAIL FROM:<a@elsewhere.test>\r\n" + repeated(count, [](std::size_t i) {
                   return "RCPT TO:<c" + std::to_string(i) + "@example.com>\r\n";
                 }));
  harness.upstream("250 ok\r\n");
  for (std::size_t i = 0; i < count; ++i) harness.upstream("250 ok\r\n");
  harness.client("RSET\r\n");
}

// One message of one recipient through every stage.
void one_message(const policy::Settings& settings) {
  policy::MemoryCounters counters(1000);
  const policy::Chain chain(settings, counters);
  policy::Account account{
      .login = "alice@example.com", .addresses = {}, .groups = {"staff"}, .backend = "file"};
  policy::ClientFacts client;
  client.address = *policy::parse_ip("192.0.2.7");
  client.listener = "submission";
  client.account = &account;
  smtp::Path path;
  path.mailbox = {.local = "alice", .domain = "example.com"};
  const smtp::MailParameters parameters;
  smtp::HeaderFacts header;
  header.from.push_back({"", path.mailbox});
  const policy::WallTime now{std::chrono::seconds(1'800'000'000)};
  policy::ChargeList charges;
  policy::TransactionFacts transaction{&path, &parameters, {}};
  static_cast<void>(chain.mail(client, transaction, now));
  static_cast<void>(chain.rcpt(client, transaction, path, now, charges));
  transaction.recipients = {&path, 1};
  static_cast<void>(chain.header(client, transaction, header, now));
  static_cast<void>(chain.message(client, transaction, {.octets = 4096, .mime = {}}, now, charges));
  charges.note_asked(1);
  chain.settle(charges, false, now);
}

void rates(std::size_t count) {
  policy::Settings settings;
  settings.local_domains = {"example.com"};
  for (std::size_t i = 0; i < count; ++i) {
    settings.rates.push_back({.name = "rate-" + std::to_string(i),
                              .unit = static_cast<policy::RateUnit>(i % 3),
                              .amount = 1'000'000});
  }
  one_message(settings);
}

void rules(std::size_t count) {
  policy::Settings settings;
  settings.local_domains = {"example.com"};
  for (std::size_t i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    settings.domain_rules.push_back(
        {.name = "domain-" + number, .groups = {"staff"}, .domains = {"example.com"}});
    settings.usage.push_back({.name = "usage-" + number, .groups = {"staff"}, .message_bytes = 1'000'000});
  }
  one_message(settings);
}

void read_header(const std::string& block) {
  static_cast<void>(smtp::parse_header(block + "\r\n", {}));
  std::string out;
  smtp::append_without_results(out, block, [](std::string_view) { return true; });
}

void fields(std::size_t count) {
  read_header("From: a@b.test\r\n" +
              repeated(count, [](std::size_t i) { return "X-Field-" + std::to_string(i) + ": text\r\n"; }));
}

void received(std::size_t count) {
  read_header("From: a@b.test\r\n" + repeated(count, [](std::size_t) {
                return std::string("Received: from a by b;\r\n\tMon, 1 Jan 2024 00:00:00 +0000\r\n");
              }));
}

void results(std::size_t count) {
  read_header("From: a@b.test\r\n" + repeated(count, [](std::size_t) {
                return std::string("Authentication-Results: mx.example.com;\r\n\tspf=pass\r\n");
              }));
}

void authors(std::size_t count) {
  read_header(
      "Sender: a@b.test\r\nFrom: a@b.test" +
      repeated(count, [](std::size_t i) { return ",\r\n Name <a" + std::to_string(i) + "@b.test>"; }) +
      "\r\n");
}

void visible(std::size_t count) {
  read_header(
      "From: a@b.test\r\nTo: a@b.test" +
      repeated(count,
               [](std::size_t i) { return ",\r\n \"Name, (x)\" <a" + std::to_string(i) + "@b.test>"; }) +
      "\r\n");
}

void parts(std::size_t count) {
  smtp::MimeScanner scanner;
  scanner.begin("multipart/mixed; boundary=b", "", "");
  scanner.feed(repeated(count, [](std::size_t) {
    return std::string("--b\r\nContent-Type: image/png; name=a.png\r\n\r\nAAAA\r\n-- no delimiter\r\n");
  }));
  static_cast<void>(scanner.finish());
}

constexpr std::pair<std::string_view, void (*)(std::size_t)> subjects[] = {
    {"recipients", recipients}, {"rates", rates},       {"rules", rules},
    {"fields", fields},         {"received", received}, {"results", results},
    {"authors", authors},       {"visible", visible},   {"parts", parts},
};

int run(std::string_view name, std::size_t count) {
  for (const auto& [subject, work] : subjects) {
    if (subject != name) continue;
    work(count);
    return 0;
  }
  return 64;
}

}  // namespace
}  // namespace portcullis

int main(int argc, char** argv) {
  return argc == 3 ? portcullis::run(argv[1], std::strtoul(argv[2], nullptr, 10)) : 64;
}
