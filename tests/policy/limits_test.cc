// Usage (4.4) and rates (4.5) through the chain: what is refused, what is charged, what comes back.
#include <gtest/gtest.h>

#include <limits>

#include "tests/policy/fixtures.h"

namespace portcullis::policy::test {
namespace {

using std::chrono::seconds;

Settings plain() {
  Settings s;
  s.local_domains = {"example.com"};
  s.identity.mode = Mode::off;
  s.outside.spoof_mode = Mode::off;
  return s;
}

std::uint64_t used(const CounterStore& counters, const RateRule& rule, std::string_view key,
                   WallTime now = start) {
  return counters.peek({rule.name, key, 0, rule.amount, rule.period_seconds}, now)->used;
}

TEST(Usage, EachLimitAtItsStage) {
  Settings s = plain();
  s.usage = {{.name = "usage-1",
              .recipients_per_message = 2,
              .message_bytes = 1000,
              .attachments_per_message = 1,
              .visible_recipients_per_message = 3,
              .messages_per_session = 5,
              .recipients_per_session = 10}};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  session.parameters.size_octets = 1000;
  EXPECT_EQ(outcome(chain, session.mail(chain, "a@x.example")), "accept");
  session.parameters.size_octets = 1001;
  EXPECT_EQ(outcome(chain, session.mail(chain, "a@x.example")), "552 5.3.4 usage-1");
  session.parameters.size_octets.reset();
  session.client.session_messages = 4;
  EXPECT_EQ(outcome(chain, session.mail(chain, "a@x.example")), "accept");
  session.client.session_messages = 5;
  EXPECT_EQ(outcome(chain, session.mail(chain, "a@x.example")), "450 4.7.1 usage-1");
  session.client.session_messages = 0;
  session.mail(chain, "a@x.example");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@example.com")), "accept");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "2@example.com")), "accept");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "3@example.com")), "452 4.5.3 usage-1");
  session.mail(chain, "a@x.example");
  session.client.session_recipients = 9;
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@example.com")), "accept");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "2@example.com")), "452 4.5.3 usage-1");
  auto header = header_from("a@x.example");
  header.visible_recipients = 3;
  EXPECT_EQ(outcome(chain, session.header(chain, header)), "accept");
  header.visible_recipients = 4;
  EXPECT_EQ(outcome(chain, session.header(chain, header)), "550 5.7.1 usage-1");
  ContentFacts content;
  content.octets = 1000;
  content.mime.attachments = 1;
  EXPECT_EQ(outcome(chain, session.message(chain, content)), "accept");
  content.octets = 1001;
  EXPECT_EQ(outcome(chain, session.message(chain, content)), "552 5.3.4 usage-1");
  content.octets = 1;
  content.mime.limit_exceeded = true;
  EXPECT_EQ(outcome(chain, session.message(chain, content)), "550 5.7.1 usage-1");
  content.mime = {.attachments = 2};
  EXPECT_EQ(outcome(chain, session.message(chain, content)), "550 5.7.1 usage-1");
}

TEST(Usage, AppliesToItsListenersAndGroups) {
  Settings s = plain();
  s.usage = {{.name = "mx-only", .listeners = {"mx"}, .message_bytes = 100},
             {.name = "students", .groups = {"students"}, .message_bytes = 200},
             {.name = "watched", .mode = Mode::shadow, .message_bytes = 50},
             {.name = "off", .mode = Mode::off, .message_bytes = 1}};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  EXPECT_EQ(chain.message_octets_allowed(session.client), std::numeric_limits<std::uint64_t>::max());
  session.client.listener = "mx";
  EXPECT_EQ(chain.message_octets_allowed(session.client), 100U);
  session.client.listener = "submission";
  session.login("s@example.com", {}, {"staff", "students"});
  EXPECT_EQ(chain.message_octets_allowed(session.client), 200U);
  const auto verdict = session.message(chain, {.octets = 201, .mime = {}});
  EXPECT_EQ(hits(chain, verdict), "enforce reject students message none\n")
      << "later rules are not asked once it is decided";
  const auto watched = session.message(chain, {.octets = 199, .mime = {}});
  EXPECT_EQ(outcome(chain, watched), "accept");
  EXPECT_EQ(hits(chain, watched), "shadow reject watched message none\n");
}

TEST(Quota, CountsMessagesOnceAndRecipientsEach) {
  Settings s = plain();
  s.rates = {{.name = "rate-messages", .unit = RateUnit::messages, .amount = 2, .period_seconds = 3600},
             {.name = "rate-recipients", .unit = RateUnit::recipients, .amount = 5, .period_seconds = 86400}};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  session.login("alice");
  session.mail(chain, "a@x.example");
  for (const std::string_view to : {"1@y.example", "2@y.example", "3@y.example"}) {
    EXPECT_EQ(outcome(chain, session.rcpt(chain, to)), "accept");
  }
  EXPECT_EQ(used(counters, s.rates[0], "alice"), 1U);
  EXPECT_EQ(used(counters, s.rates[1], "alice"), 3U);
  chain.settle(session.charges, true, start);
  session.mail(chain, "a@x.example");
  for (const std::string_view to : {"1@y.example", "2@y.example"}) session.rcpt(chain, to);
  const auto verdict = session.rcpt(chain, "3@y.example");
  EXPECT_EQ(outcome(chain, verdict), "452 4.7.1 rate-recipients");
  EXPECT_EQ(verdict.reply.text, "Recipient limit reached: try again in 24 hours");
  chain.settle(session.charges, true, start);
  EXPECT_EQ(used(counters, s.rates[1], "alice"), 5U);
  session.mail(chain, "a@x.example");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@y.example")), "450 4.7.1 rate-messages");
  EXPECT_EQ(used(counters, s.rates[0], "alice"), 2U);
  // Others are not concerned; unauthenticated clients have no login to be counted by.
  Session bob;
  bob.login("bob").mail(chain, "b@x.example");
  EXPECT_EQ(outcome(chain, bob.rcpt(chain, "1@y.example")), "accept");
  Session outside;
  outside.mail(chain, "b@x.example");
  EXPECT_EQ(outcome(chain, outside.rcpt(chain, "1@example.com")), "accept");
}

TEST(Quota, ARefusedRecipientLeavesNoCharge) {
  Settings s = plain();
  s.rates = {{.name = "rate-messages", .unit = RateUnit::messages, .amount = 10},
             {.name = "first", .amount = 10},
             {.name = "second", .amount = 1}};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  session.login("alice").mail(chain, "a@x.example");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@y.example")), "accept");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "2@y.example")), "452 4.7.1 second");
  EXPECT_EQ(used(counters, s.rates[0], "alice"), 1U);
  EXPECT_EQ(used(counters, s.rates[1], "alice"), 1U);
  chain.settle(session.charges, false, start);
  for (const auto& rate : s.rates) EXPECT_EQ(used(counters, rate, "alice"), 0U) << rate.name;
  // The very first recipient refused: its message charge goes too, and is made again by the next.
  ASSERT_TRUE(counters.charge({"second", "alice", 1, 1, 86400}, start, false));
  session.mail(chain, "a@x.example");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@y.example")), "452 4.7.1 second");
  EXPECT_EQ(used(counters, s.rates[0], "alice"), 0U);
  counters.refund({"second", "alice", 1, 1, 86400}, start, start);
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@y.example")), "accept");
  EXPECT_EQ(used(counters, s.rates[0], "alice"), 1U);
  chain.settle(session.charges, false, start);
  for (const auto& rate : s.rates) EXPECT_EQ(used(counters, rate, "alice"), 0U) << rate.name;
}

// What stays of three recipients, one message and its bytes, by what the upstream was asked and said.
TEST(Quota, WhatTheUpstreamWasAskedAboutIsCharged) {
  struct Case {
    std::size_t asked;
    bool content, accepted;
    std::uint64_t messages, recipients, bytes;
  };
  const Case cases[] = {
      {0, false, false, 0, 0, 0},   // it could not be reached
      {1, false, false, 1, 1, 0},   // lost after the first
      {3, false, false, 1, 3, 0},   // RSET, a close, no good recipient
      {3, true, false, 1, 3, 0},    // the message was refused
      {3, true, true, 1, 3, 3000},  // accepted
      {9, false, false, 1, 3, 0},   // more than were charged
  };
  for (const Case& c : cases) {
    Settings s = plain();
    s.rates = {{.name = "rate-messages", .unit = RateUnit::messages, .amount = 10},
               {.name = "rate-recipients", .amount = 10},
               {.name = "by-address", .key = RateKey::client_ip, .amount = 10},
               {.name = "rate-bytes", .unit = RateUnit::bytes, .amount = 10000}};
    MemoryCounters counters(100);
    const Chain chain(s, counters);
    Session session;
    session.login("alice").mail(chain, "a@x.example");
    // Each in a slot of its own: what comes back comes out of the last.
    for (const int at : {0, 7200, 14400}) session.rcpt(chain, "1@y.example", start + seconds{at});
    const WallTime now = start + seconds{14400};
    if (c.content) session.message(chain, {.octets = 3000, .mime = {}}, now);
    session.charges.note_asked(c.asked);
    chain.settle(session.charges, c.accepted, now);
    EXPECT_EQ(used(counters, s.rates[0], "alice", now), c.messages) << c.asked;
    EXPECT_EQ(used(counters, s.rates[1], "alice", now), c.recipients) << c.asked;
    EXPECT_EQ(used(counters, s.rates[2], "203.0.113.9", now), c.recipients) << c.asked;
    EXPECT_EQ(used(counters, s.rates[3], "alice", now), c.bytes) << c.asked;
    // The oldest go first: those kept were charged first.
    const WallTime later = start + seconds{86400 + 7200};
    EXPECT_EQ(used(counters, s.rates[1], "alice", later),
              c.recipients - std::min<std::uint64_t>(c.recipients, 1));
  }
}

TEST(Quota, SettlingRefundsAllUnlessAccepted) {
  Settings s = plain();
  s.rates = {{.name = "rate-messages", .unit = RateUnit::messages, .amount = 10},
             {.name = "rate-recipients", .amount = 10},
             {.name = "rate-bytes", .unit = RateUnit::bytes, .amount = 10000}};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  session.login("alice");
  const auto send = [&](bool accepted) {
    session.mail(chain, "a@x.example");
    session.rcpt(chain, "1@y.example");
    session.rcpt(chain, "2@y.example");
    EXPECT_EQ(outcome(chain, session.message(chain, {.octets = 3000, .mime = {}})), "accept");
    EXPECT_EQ(outcome(chain, session.message(chain, {.octets = 3000, .mime = {}})), "accept")
        << "charged once";
    chain.settle(session.charges, accepted, start);
  };
  send(false);
  for (const auto& rate : s.rates) EXPECT_EQ(used(counters, rate, "alice"), 0U) << rate.name;
  send(true);
  EXPECT_EQ(used(counters, s.rates[0], "alice"), 1U);
  EXPECT_EQ(used(counters, s.rates[1], "alice"), 2U);
  EXPECT_EQ(used(counters, s.rates[2], "alice"), 3000U);
}

// Who holds a transaction open and takes it back must not get more than the limit in any period.
TEST(Quota, ALateRefundGivesBackNothingElse) {
  Settings s = plain();
  s.rates = {{.name = "rate-recipients", .unit = RateUnit::recipients, .amount = 4, .period_seconds = 60}};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session held;
  Session sent;
  for (Session* session : {&held, &sent}) {
    session->login("alice");
    session->mail(chain, "a@x.example");
  }
  // Each in a slot of its own.
  EXPECT_EQ(outcome(chain, held.rcpt(chain, "1@y.example", start)), "accept");
  EXPECT_EQ(outcome(chain, held.rcpt(chain, "2@y.example", start + seconds{20})), "accept");
  for (const std::string_view to : {"3@y.example", "4@y.example"}) {
    EXPECT_EQ(outcome(chain, sent.rcpt(chain, to, start + seconds{55})), "accept");
  }
  EXPECT_EQ(outcome(chain, sent.rcpt(chain, "5@y.example", start + seconds{55})),
            "452 4.7.1 rate-recipients");
  chain.settle(sent.charges, true, start + seconds{56});
  chain.settle(held.charges, false, start + seconds{57});
  for (const int later : {57, 70, 90, 114}) {
    EXPECT_EQ(used(counters, s.rates[0], "alice", start + seconds{later}), 2U) << later;
  }
}

TEST(Quota, BytesAreRefusedEarlyBySizeAndLateByContent) {
  Settings s = plain();
  s.rates = {{.name = "rate-bytes", .unit = RateUnit::bytes, .amount = 10000, .period_seconds = 60}};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  session.login("alice").mail(chain, "a@x.example");
  session.rcpt(chain, "1@y.example");
  EXPECT_EQ(outcome(chain, session.message(chain, {.octets = 6000, .mime = {}})), "accept");
  session.parameters.size_octets = 5000;
  session.mail(chain, "a@x.example");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@y.example")), "450 4.7.1 rate-bytes");
  session.parameters.size_octets = 10001;
  session.mail(chain, "a@x.example");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@y.example")), "552 5.3.4 rate-bytes")
      << "waiting does not help";
  session.parameters.size_octets = 1;  // a lie
  session.mail(chain, "a@x.example");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@y.example")), "accept");
  EXPECT_EQ(outcome(chain, session.message(chain, {.octets = 5000, .mime = {}})), "450 4.7.1 rate-bytes");
  EXPECT_EQ(used(counters, s.rates[0], "alice"), 6000U);
}

TEST(Quota, KeysNetworksAndDomains) {
  Settings s = plain();
  s.rates = {{.name = "ip", .key = RateKey::client_ip, .amount = 100},
             {.name = "net", .key = RateKey::client_net, .amount = 100},
             {.name = "domain", .key = RateKey::reverse_path_domain, .amount = 100}};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  for (const std::string_view address :
       {"192.0.2.1", "192.0.2.2", "2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:3::1"}) {
    Session session(address);
    session.mail(chain, "a@B\u00dcCHER.example");
    EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@example.com")), "accept");
    session.mail(chain, "");
    EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@example.com")), "accept");
  }
  EXPECT_EQ(used(counters, s.rates[0], "192.0.2.1"), 2U);
  EXPECT_EQ(used(counters, s.rates[0], "2001:db8:1:2::"), 4U);
  EXPECT_EQ(used(counters, s.rates[1], "192.0.2.0"), 4U);
  EXPECT_EQ(used(counters, s.rates[1], "2001:db8:1::"), 6U);
  EXPECT_EQ(used(counters, s.rates[2], "xn--bcher-kva.example"), 5U) << "bounces are not counted by domain";
}

TEST(Quota, ExemptGroupsListenersAndModes) {
  Settings s = plain();
  s.rates = {{.name = "off", .mode = Mode::off, .amount = 0},
             {.name = "mx", .amount = 0, .listeners = {"mx"}},
             {.name = "watched", .mode = Mode::shadow, .amount = 1},
             {.name = "hard", .amount = 2, .exempt_groups = {"newsletter"}}};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  session.login("alice").mail(chain, "a@x.example");
  EXPECT_TRUE(session.rcpt(chain, "1@y.example").hits.empty());
  auto verdict = session.rcpt(chain, "2@y.example");
  EXPECT_EQ(outcome(chain, verdict), "accept");
  EXPECT_EQ(hits(chain, verdict), "shadow defer watched rcpt none\n");
  EXPECT_EQ(used(counters, s.rates[2], "alice"), 1U) << "counts as if it were enforced";
  verdict = session.rcpt(chain, "3@y.example");
  EXPECT_EQ(hits(chain, verdict), "shadow defer watched rcpt none\nenforce defer hard rcpt none\n");
  session.login("news", {}, {"newsletter"}).mail(chain, "a@x.example");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@y.example")), "accept");
  session.client.listener = "mx";
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@y.example")), "550 5.7.1 mx")
      << "an amount of 0 never fits";
}

TEST(Quota, ABrokenStoreDefersOrAllows) {
  Settings s = plain();
  s.rates = {{.name = "lenient", .amount = 1, .on_error = OnError::allow},
             {.name = "watched", .mode = Mode::shadow, .amount = 1}};
  BrokenStore broken;
  Session session;
  session.login("alice");
  {
    const Chain chain(s, broken);
    session.mail(chain, "a@x.example");
    const auto verdict = session.rcpt(chain, "1@y.example");
    EXPECT_EQ(outcome(chain, verdict), "accept");
    EXPECT_EQ(hits(chain, verdict), "shadow defer watched rcpt none\n");
    chain.settle(session.charges, false, start);
    EXPECT_EQ(broken.refunds, 0) << "what was not charged is not refunded";
  }
  s.rates.push_back({.name = "strict", .amount = 1});
  const Chain chain(s, broken);
  session.mail(chain, "a@x.example");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "1@y.example")), "451 4.3.0 strict");
}

TEST(Rates, ANullReversePathAfterALoginCountsForTheDomainOfTheLogin) {
  Settings s = plain();
  s.rates = {
      {.name = "domain", .key = RateKey::reverse_path_domain, .unit = RateUnit::messages, .amount = 1}};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  session.login("alice@example.com");
  session.mail(chain, "");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "a@x.example")), "accept");
  session.mail(chain, "");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "a@x.example")), "450 4.7.1 domain");
  Session stranger;
  for (int i = 0; i < 3; ++i) {
    stranger.mail(chain, "");
    EXPECT_EQ(outcome(chain, stranger.rcpt(chain, "a@example.com")), "accept") << "bounces are not counted";
  }
}

TEST(Chain, NamesEveryRuleOnce) {
  Settings s = plain();
  s.domain_rules = {{.name = "d"}};
  s.usage = {{.name = "u"}};
  s.rates = {{.name = "rate-recipients"}};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  std::vector<std::string> names = {"identity", "local-sender",    "relay",      "d",
                                    "u",        "rate-recipients", "connections"};
  for (const StrictnessRow& row : strictness_rows()) names.emplace_back(row.name);
  EXPECT_EQ(chain.rule_names(), names);
  EXPECT_EQ(chain.rule_names()[chain.connections_rule()], "connections");
}

TEST(Chain, AcceptsAPlainMessageWithoutAnyHit) {
  Settings s;
  s.local_domains = {"example.com"};
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  session.login("alice@example.com");
  EXPECT_TRUE(session.mail(chain, "alice@example.com").hits.empty());
  EXPECT_TRUE(session.rcpt(chain, "bob@example.org").hits.empty());
  EXPECT_TRUE(session.header(chain, header_from("alice@example.com")).hits.empty());
  EXPECT_TRUE(session.message(chain, {.octets = 5, .mime = {}}).hits.empty());
  EXPECT_TRUE(session.charges.items.empty());
}

}  // namespace
}  // namespace portcullis::policy::test
