// Sender rules through the chain: identity (4.1), domains (4.2), mail from outside (4.3).
#include <gtest/gtest.h>

#include "tests/policy/fixtures.h"

namespace portcullis::policy::test {
namespace {

Settings settings() {
  Settings s;
  s.local_domains = {"example.com", "*.example.com", "xn--bcher-kva.example"};
  s.networks.push_back(
      {.name = "scanners", .addresses = {*parse_network("10.1.0.0/16")}, .may_use_local_senders = true});
  s.networks.push_back({.name = "servers",
                        .addresses = {*parse_network("10.2.0.0/16"), *parse_network("10.1.2.0/24")},
                        .may_relay = true});
  s.identity.grants = {{"bob@example.com", "Sales@Example.COM"},
                       {"*@assist.example.com", "boss@example.com"},
                       {"group:staff", "*@lists.example.com"},
                       {"Carol", "carol@example.com"}};
  return s;
}

TEST(Spoof, EnvelopeOfAuthenticatedClients) {
  MemoryCounters counters(100);
  const Chain chain(settings(), counters);
  struct Case {
    std::string_view login;
    std::vector<std::string> addresses, groups;
    std::string_view from, expected;
  };
  constexpr std::string_view refused = "553 5.7.1 identity";
  const std::vector<Case> cases = {
      {"alice@example.com", {}, {}, "alice@example.com", "accept"},
      {"alice@example.com", {}, {}, "Alice@EXAMPLE.com", "accept"},
      {"alice@example.com", {}, {}, "alice+news@example.com", "accept"},
      {"alice+news@example.com", {}, {}, "alice+news@example.com", "accept"},
      {"alice+news@example.com", {}, {}, "alice@example.com", refused},
      {"alice@example.com", {}, {}, "bob@example.com", refused},
      {"alice@example.com", {}, {}, "alice@example.org", refused},
      {"alice@example.com", {}, {}, "alice@sub.example.com", refused},
      {"alice@example.com", {}, {}, "", "accept"},  // and its From is judged
      {"alice@example.com", {}, {}, "ali\u200bce@example.com", refused},
      {"alice@xn--bcher-kva.example", {}, {}, "alice@b\u00fccher.example", "accept"},
      {"alice", {"a.liddell@example.com", "*@wonder.example"}, {}, "a.liddell@example.com", "accept"},
      {"alice", {"a.liddell@example.com", "*@wonder.example"}, {}, "queen@wonder.example", "accept"},
      {"alice", {"a.liddell@example.com", "*@wonder.example"}, {}, "queen@sub.wonder.example", refused},
      {"alice", {}, {}, "alice@example.com", refused},
      {"bob@example.com", {}, {}, "sales@example.com", "accept"},
      {"alice@example.com", {}, {}, "sales@example.com", refused},
      {"ann@assist.example.com", {}, {}, "boss@example.com", "accept"},
      {"ann@example.com", {}, {}, "boss@example.com", refused},
      {"dave@example.com", {}, {"staff"}, "news@lists.example.com", "accept"},
      {"dave@example.com", {}, {"students"}, "news@lists.example.com", refused},
      {"carol", {}, {}, "carol@example.com", "accept"},
  };
  for (const Case& c : cases) {
    Session session;
    session.login(c.login, c.addresses, c.groups);
    EXPECT_EQ(outcome(chain, session.mail(chain, c.from)), c.expected) << c.login << " as " << c.from;
    // The header follows the same ownership.
    if (c.from.empty()) continue;
    const auto verdict = session.header(chain, header_from(c.from));
    EXPECT_EQ(outcome(chain, verdict), c.expected == refused ? "550 5.7.1 identity" : "accept") << c.from;
  }
}

TEST(Spoof, NullReversePathOnlyWhereAllowed) {
  Settings s = settings();
  s.identity.allow_null_reverse_path = false;
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  EXPECT_EQ(outcome(chain, session.login("alice@example.com").mail(chain, "")), "553 5.7.1 identity");
}

// Read receipts (RFC 8098): nothing but the header names the sender of such a message.
TEST(Spoof, NullReversePathNeedsAnOwnFrom) {
  Settings s = settings();
  s.domain_rules = {{.name = "employees", .domains = {"example.com"}, .check_header = false}};
  for (const bool check_header : {true, false}) {
    s.identity.check_header = check_header;
    MemoryCounters counters(100);
    const Chain chain(s, counters);
    Session session;
    session.login("alice@example.com", {"alice@other.example"});
    EXPECT_EQ(outcome(chain, session.mail(chain, "")), "accept");
    EXPECT_EQ(outcome(chain, session.header(chain, header_from("alice@example.com"))), "accept");
    EXPECT_EQ(outcome(chain, session.header(chain, header_from("bob@example.com"))), "550 5.7.1 identity");
    EXPECT_EQ(outcome(chain, session.header(chain, {})), "550 5.7.1 identity") << "nobody is not alice";
    EXPECT_EQ(outcome(chain, session.header(chain, header_from("alice@other.example"))),
              "550 5.7.1 employees");
    session.mail(chain, "alice@example.com");
    EXPECT_EQ(outcome(chain, session.header(chain, header_from("alice@other.example"))), "accept");
  }
}

TEST(Spoof, EveryHeaderMailboxMustBeOwned) {
  MemoryCounters counters(100);
  const Chain chain(settings(), counters);
  Session session;
  session.login("alice@example.com");
  smtp::HeaderFacts header = header_from("alice@example.com");
  EXPECT_EQ(outcome(chain, session.header(chain, header)), "accept");
  header.from.push_back(header_mailbox("bob@example.com"));
  header.sender.push_back(header_mailbox("alice@example.com"));
  EXPECT_EQ(hits(chain, session.header(chain, header)), "enforce reject identity header header_from\n");
  header = header_from("alice@example.com");
  header.sender.push_back(header_mailbox("bob@example.com"));
  EXPECT_EQ(hits(chain, session.header(chain, header)), "enforce reject identity header sender\n");
  header = header_from("alice@example.com");
  header.resent_from.push_back(header_mailbox("bob@example.com"));
  EXPECT_EQ(outcome(chain, session.header(chain, header)), "550 5.7.1 identity");
}

TEST(Spoof, HeaderChecksCanBeLeftOut) {
  Settings s = settings();
  s.identity.check_resent = false;
  smtp::HeaderFacts header = header_from("alice@example.com");
  header.resent_from.push_back(header_mailbox("bob@example.com"));
  MemoryCounters counters(100);
  Session session;
  session.login("alice@example.com");
  EXPECT_EQ(outcome(Chain(s, counters), session.header(Chain(s, counters), header)), "accept");
  s.identity.check_header = false;
  header.from.push_back(header_mailbox("bob@example.com"));
  EXPECT_EQ(outcome(Chain(s, counters), session.header(Chain(s, counters), header)), "accept");
}

TEST(Spoof, ShadowRecordsAndLetsPass) {
  Settings s = settings();
  s.identity.mode = Mode::shadow;
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  session.login("alice@example.com");
  const auto verdict = session.mail(chain, "bob@example.com");
  EXPECT_EQ(outcome(chain, verdict), "accept");
  EXPECT_EQ(hits(chain, verdict), "shadow reject identity mail envelope\n");
  smtp::HeaderFacts header = header_from("bob@example.com");
  header.sender.push_back(header_mailbox("carol@example.com"));
  EXPECT_EQ(hits(chain, session.header(chain, header)),
            "shadow reject identity header header_from\nshadow reject identity header sender\n");
  s.identity.mode = Mode::off;
  const Chain off(s, counters);
  EXPECT_TRUE(session.mail(off, "bob@example.com").hits.empty());
  EXPECT_TRUE(session.header(off, header).hits.empty());
}

// What users write about themselves, in a directory say, is one address. A pattern is another type.
TEST(Spoof, NoOwnedAddressIsAPattern) {
  MemoryCounters counters(100);
  const Chain chain(settings(), counters);
  for (const char* const written : {"*@example.com", "@example.com", "*@*.example.com", "%@example.com"}) {
    Session session;
    session.login("mallory@example.org");
    session.account.addresses = {written};
    for (const char* const victim : {"ceo@example.com", "a@sub.example.com"}) {
      EXPECT_EQ(outcome(chain, session.mail(chain, victim)), "553 5.7.1 identity")
          << written << " as " << victim;
      EXPECT_EQ(outcome(chain, session.header(chain, header_from(victim))), "550 5.7.1 identity") << written;
    }
  }
}

TEST(Spoof, OutsidersMayNotUseLocalSenders) {
  MemoryCounters counters(100);
  const Chain chain(settings(), counters);
  struct Case {
    std::string_view client, from, expected;
  };
  for (const auto& [client, from, expected] : {
           Case{"203.0.113.9", "ceo@example.com", "553 5.7.1 local-sender"},
           Case{"203.0.113.9", "ceo@EXAMPLE.com.", "553 5.7.1 local-sender"},
           Case{"203.0.113.9", "ceo@sub.example.com", "553 5.7.1 local-sender"},
           Case{"203.0.113.9", "ceo@B\u00dcCHER.example", "553 5.7.1 local-sender"},
           Case{"203.0.113.9", "ceo@example\u3002com", "553 5.7.1 local-sender"},
           Case{"203.0.113.9", "ceo@exam\xffple.com", "553 5.7.1 local-sender"},
           Case{"203.0.113.9", "ceo@example.org", "accept"},
           Case{"203.0.113.9", "ceo@notexample.com", "accept"},
           Case{"203.0.113.9", "", "accept"},
           Case{"10.1.0.9", "scan@example.com", "accept"},
           Case{"10.2.0.9", "scan@example.com", "553 5.7.1 local-sender"},
           Case{"::ffff:10.1.0.9", "scan@example.com", "accept"},
       }) {
    Session session(client);
    EXPECT_EQ(outcome(chain, session.mail(chain, from)), expected) << client << " " << from;
    if (from.empty()) continue;
    smtp::HeaderFacts header = header_from(from);
    const std::string at_header = expected == "accept" ? "accept" : "550 5.7.1 local-sender";
    EXPECT_EQ(outcome(chain, session.header(chain, header)), at_header) << client << " " << from;
    header = header_from("other@example.org");
    header.sender = {header_mailbox(from)};
    EXPECT_EQ(outcome(chain, session.header(chain, header)), at_header) << client << " " << from;
  }
}

TEST(Spoof, OutsidersMayNotResendAsLocalOnes) {
  for (const bool check : {true, false}) {
    Settings s = settings();
    s.outside.check_resent = check;
    s.networks.push_back(
        {.name = "trusted", .addresses = {*parse_network("198.51.100.0/24")}, .may_use_local_senders = true});
    MemoryCounters counters(100);
    const Chain chain(s, counters);
    smtp::HeaderFacts header = header_from("a@else.example");
    header.resent_from.push_back(header_mailbox("b@else.example"));
    Session session;
    EXPECT_EQ(outcome(chain, session.header(chain, header)), "accept");
    header.resent_from.push_back(header_mailbox("ceo@example.com"));
    EXPECT_EQ(outcome(chain, session.header(chain, header)), check ? "550 5.7.1 local-sender" : "accept");
    Session inside("198.51.100.1");
    EXPECT_EQ(outcome(chain, inside.header(chain, header)), "accept");
  }
}

TEST(Spoof, OutsidersMayNotRelay) {
  MemoryCounters counters(100);
  const Chain chain(settings(), counters);
  struct Case {
    std::string_view client, to, expected;
  };
  for (const auto& [client, to, expected] : {
           Case{"203.0.113.9", "bob@example.com", "accept"},
           Case{"203.0.113.9", "bob@Sub.Example.COM", "accept"},
           Case{"203.0.113.9", "Postmaster", "accept"},
           Case{"203.0.113.9", "bob@example.org", "550 5.7.1 relay"},
           Case{"203.0.113.9", "bob@[192.0.2.1]", "550 5.7.1 relay"},
           Case{"203.0.113.9", "bob@exam ple.com", "550 5.7.1 relay"},
           Case{"203.0.113.9", "victim%evil.example@example.com", "550 5.7.1 relay"},
           Case{"203.0.113.9", "evil.example!victim@example.com", "550 5.7.1 relay"},
           Case{"203.0.113.9", "victim@evil.example@example.com", "550 5.7.1 relay"},
           Case{"10.1.0.9", "bob@example.org", "550 5.7.1 relay"},
           Case{"10.2.0.9", "bob@example.org", "accept"},
           Case{"10.1.2.9", "bob@example.org", "accept"},
           Case{"10.2.0.9", "victim%evil.example@example.com", "accept"},
       }) {
    Session session(client);
    session.mail(chain, "x@example.net");
    EXPECT_EQ(outcome(chain, session.rcpt(chain, to)), expected) << client << " " << to;
  }
  Session session;
  session.login("alice@example.com").mail(chain, "alice@example.com");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "bob@example.org")), "accept");
}

TEST(Spoof, RelayIsEnforcedWhateverTheSpoofMode) {
  Settings s = settings();
  s.outside.spoof_mode = Mode::off;
  s.identity.mode = Mode::off;
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  EXPECT_EQ(outcome(chain, session.mail(chain, "ceo@example.com")), "accept");
  EXPECT_EQ(outcome(chain, session.rcpt(chain, "bob@example.org")), "550 5.7.1 relay");
}

TEST(Spoof, DomainRulesApplyWhereAllTheirConditionsHold) {
  Settings s = settings();
  s.identity.mode = Mode::off;
  s.outside.spoof_mode = Mode::off;
  s.domain_rules = {
      {.name = "by-listener", .listeners = {"partners"}, .domains = {"partner.example"}},
      {.name = "by-network", .networks = {"scanners"}, .domains = {"example.com"}},
      {.name = "by-login", .logins = {"kiosk"}, .domains = {"kiosk.example"}},
      {.name = "by-login-domain", .logins = {"*@guest.example.com"}, .domains = {"guest.example.com"}},
      {.name = "by-login-below", .logins = {"*@*.far.example.com"}, .domains = {"far.example"}},
      {.name = "by-group", .groups = {"students"}, .domains = {"*.edu.example", "edu.example"}},
      {.name = "by-two", .networks = {"servers"}, .groups = {"ops"}, .domains = {"ops.example"}},
  };
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  struct Case {
    std::string_view client, listener, login, group, from, expected;
  };
  for (const auto& [client, listener, login, group, from, expected] : {
           Case{"203.0.113.9", "partners", "", "", "a@partner.example", "accept"},
           Case{"203.0.113.9", "partners", "", "", "a@else.example", "553 5.7.1 by-listener"},
           Case{"203.0.113.9", "partners", "", "", "", "accept"},
           Case{"203.0.113.9", "mx", "", "", "a@else.example", "accept"},
           Case{"10.1.0.1", "mx", "", "", "a@else.example", "553 5.7.1 by-network"},
           Case{"10.1.0.1", "mx", "", "", "a@example.com", "accept"},
           Case{"203.0.113.9", "mx", "kiosk", "", "a@else.example", "553 5.7.1 by-login"},
           Case{"203.0.113.9", "mx", "kiosk2", "", "a@else.example", "accept"},
           Case{"203.0.113.9", "mx", "g@guest.example.com", "", "a@else.example",
                "553 5.7.1 by-login-domain"},
           Case{"203.0.113.9", "mx", "g@guest.example.com", "", "a@guest.example.com", "accept"},
           Case{"203.0.113.9", "mx", "g@x.far.example.com", "", "a@else.example", "553 5.7.1 by-login-below"},
           Case{"203.0.113.9", "mx", "s@example.com", "students", "a@else.example", "553 5.7.1 by-group"},
           Case{"203.0.113.9", "mx", "s@example.com", "students", "a@phys.edu.example", "accept"},
           Case{"10.2.0.1", "mx", "o@example.com", "ops", "a@else.example", "553 5.7.1 by-two"},
           Case{"10.3.0.1", "mx", "o@example.com", "ops", "a@else.example", "accept"},
           Case{"10.2.0.1", "mx", "o@example.com", "dev", "a@else.example", "accept"},
           Case{"10.1.2.1", "mx", "o@example.com", "ops", "a@example.com", "553 5.7.1 by-two"},
       }) {
    Session session(client);
    session.client.listener = listener;
    if (!login.empty()) session.login(login, {}, {std::string(group)});
    EXPECT_EQ(outcome(chain, session.mail(chain, from)), expected) << login << " " << from;
    if (from.empty()) continue;
    const std::string at_header = expected == "accept" ? "accept" : "550" + std::string(expected.substr(3));
    EXPECT_EQ(outcome(chain, session.header(chain, header_from(from))), at_header) << login << " " << from;
  }
}

TEST(Spoof, DomainRuleOrderAndShadow) {
  Settings s = settings();
  s.identity.mode = Mode::shadow;
  s.domain_rules = {
      {.name = "first-shadow", .mode = Mode::shadow, .domains = {"a.example"}},
      {.name = "off", .mode = Mode::off, .domains = {"a.example"}},
      {.name = "second", .groups = {"g"}, .domains = {"a.example"}, .check_header = false},
      {.name = "third", .domains = {"a.example"}},
  };
  MemoryCounters counters(100);
  const Chain chain(s, counters);
  Session session;
  session.login("alice@example.com", {}, {"g"});
  EXPECT_EQ(hits(chain, session.mail(chain, "x@b.example")),
            "shadow reject identity mail envelope\nshadow reject first-shadow mail domain\n"
            "enforce reject second mail domain\n");
  EXPECT_EQ(hits(chain, session.header(chain, header_from("x@b.example"))),
            "shadow reject identity header header_from\nshadow reject first-shadow header domain\n"
            "enforce reject third header domain\n");
}

TEST(Spoof, PermissionsOfAllNetworksAreMerged) {
  MemoryCounters counters(100);
  const Chain chain(settings(), counters);
  const Network both = chain.permissions(*parse_ip("10.1.2.3"));
  EXPECT_TRUE(both.may_relay);
  EXPECT_TRUE(both.may_use_local_senders);
  EXPECT_FALSE(both.may_send_xclient);
  const Network none = chain.permissions(*parse_ip("203.0.113.1"));
  EXPECT_FALSE(none.may_relay || none.may_use_local_senders);
  EXPECT_TRUE(chain.is_local_domain("a.example.com"));
  EXPECT_FALSE(chain.is_local_domain("example.org"));
}

}  // namespace
}  // namespace portcullis::policy::test
