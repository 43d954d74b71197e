// A file becomes settings: every table once, and what is filled in when a key is left out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/config/config.h"
#include "tests/proxy/config/site.h"

namespace portcullis::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view minimal = R"toml(
hostname = "mx.example.com"
[tls]
certificate = "cert.pem"
private_key = "key.pem"
[auth]
backends = ["file"]
[auth.file]
path = "users"
[[listener]]
name = "submission"
address = "0.0.0.0:587"
[[upstream]]
name = "legacy"
servers = ["10.0.0.5"]
)toml";

std::string all(const std::vector<Problem>& problems) {
  std::string text;
  for (const Problem& problem : problems) text += to_string(problem) + '\n';
  return text;
}

class LoadTest : public testing::Test {
 protected:
  // Loads a file of this text; it must be free of problems.
  std::shared_ptr<const Config> good(std::string_view text) {
    const Loaded loaded = load(site_.add("portcullis.toml", text, 0640));
    EXPECT_EQ(all(loaded.problems), "");
    return loaded.config;
  }
  // The problems of this text, which must be an error.
  std::string bad(std::string_view text) {
    const Loaded loaded = load(site_.add("portcullis.toml", text, 0640));
    EXPECT_EQ(loaded.config, nullptr);
    return all(loaded.problems);
  }
  Site site_;
};

TEST_F(LoadTest, minimal) {
  const auto config = good(minimal);
  ASSERT_NE(config, nullptr);
  EXPECT_EQ(config->path, site_.path("portcullis.toml"));
  EXPECT_EQ(config->hostname, "mx.example.com");
  ASSERT_EQ(config->listeners.size(), 1U);
  const Listener& listener = config->listeners[0];
  EXPECT_EQ(listener.tls, ListenerTls::starttls);
  EXPECT_EQ(listener.auth, AuthMode::required);
  ASSERT_EQ(listener.sockets.size(), 1U);
  EXPECT_EQ(policy::to_string(listener.sockets[0].address), "0.0.0.0");
  EXPECT_EQ(listener.sockets[0].port, 587);
  EXPECT_EQ(listener.upstream, "legacy");  // the only one
  ASSERT_EQ(config->upstreams.size(), 1U);
  EXPECT_EQ(config->upstreams[0].servers[0].host, "10.0.0.5");
  EXPECT_EQ(config->upstreams[0].servers[0].port, 25);
  ASSERT_EQ(config->tls.certificates.size(), 1U);
  EXPECT_EQ(config->tls.certificates[0].certificate, site_.path("cert.pem"));
  EXPECT_EQ(config->tls.certificates[0].private_key, site_.path("key.pem"));
  EXPECT_THAT(config->auth.backends, ElementsAre(auth::BackendKind::file));
  EXPECT_EQ(config->auth.file.path, site_.path("users"));
  ASSERT_EQ(config->admin.sockets.size(), 1U);
  EXPECT_EQ(policy::to_string(config->admin.sockets[0].address), "127.0.0.1");
  EXPECT_EQ(config->admin.sockets[0].port, 9925);
  EXPECT_EQ(config->policy.identity.mode, policy::Mode::enforce);
}

constexpr std::string_view full = R"toml(
hostname = "mx.example.com"
local_domains = ["Example.COM", ".bücher.example"]
workers = 3
drain = "1m"
received_fields_max = 30

[tls]
minimum_version = "1.3"
curves = ["X25519", "P-256"]
client_ca = "ca.pem"
ticket_key_lifetime = "6h"
[[tls.certificate]]
certificate = "cert.pem"
private_key = "key.pem"
[[tls.certificate]]
certificate = "cert.pem"
private_key = "key.pem"
server_names = ["*.example.com"]

[limits]
recipients = 20
errors = 7
command_timeout = "2m30s"
minimum_rate = "1KiB"
[limits.connections]
name = "floods"
mode = "shadow"
concurrent_per_network = 5
new_per_minute_per_network = 0
ipv4_prefix = 24
ipv6_prefix = 48

[[listener]]
name = "mx"
address = ["127.0.0.1:25", "[::1]:25"]
tls = "off"
auth = "off"
proxy_protocol = true
upstream = "new"
banner = "hello"
bare_lf = "normalize"
hide_client_in_received = true
hide_login_in_received = false
limits = { recipients = 50, message_size = "10MiB" }

[[listener]]
name = "passed"
systemd = "submissions"
tls = "implicit"
auth = "optional"
mechanisms = ["PLAIN", "EXTERNAL"]
client_certificate = "require"
upstream = "old"

[[upstream]]
name = "old"
servers = ["10.0.0.5:2525", "[2001:db8::5]:25", "2001:db8::6"]
client_identity = "xclient"
tls = "verified"
server_name = "mail.example.com"
ca_file = "ca.pem"
login = "gateway"
password_file = "secret"

[[upstream]]
name = "new"
servers = "mail.example.com"
implicit_tls = true
tls = "required"
trusted_for_auth = true
chunking = false
idle_timeout = "10s"

[auth]
backends = ["ldap", "imap", "file"]
[auth.file]
path = "users"
[auth.ldap]
url = ["ldaps://a.example.com", "ldaps://b.example.com"]
bind_dn = "cn=gateway"
bind_password_file = "secret"
base_dn = "dc=example,dc=com"
filter = "(mail={login})"
address_attributes = ["mail"]
deadline = "1500ms"
breaker_pause = "1m"
[auth.imap]
server = "imap.example.com:143"
tls = "starttls"
strip_domain = true
append_domain = "example.com"
[auth.certificate]
login_from = "san_dns"
logins = { "printer.example.com" = "Printer" }
[auth.cache]
ttl = "1m"
[auth.lockout]
mode = "shadow"
remember_networks = "7d"

[[network]]
name = "balancers"
addresses = ["10.0.0.0/8", "2001:db8::/32"]
may_send_proxy_header = true
may_relay = true

[policy]
rate_keys_max = 5000
[policy.identity]
name = "owner"
subaddress = ""
allow_null_reverse_path = true
[policy.outside]
spoof_name = "spoof"
spoof_mode = "shadow"
[[grant]]
who = "group:Staff"
send_as = "sales@EXAMPLE.com"
[[grant]]
who = "Alice@Example.com"
send_as = "@example.com"
[[domain_rule]]
name = "printers"
networks = ["balancers"]
logins = "*@example.com"
domains = ["example.com", "*.example.com"]
[[usage]]
name = "size"
groups = ["students"]
message_size = "5MB"
attachments_per_message = 0
[[rate]]
name = "day"
limit = "500 recipients/day"
exempt_groups = ["staff"]
[[rate]]
name = "bytes"
key = "client_net"
limit = "2GiB / hour"
listeners = ["mx"]
on_error = "allow"
mode = "off"

[journal]
sink = "file"
path = "journal.log"
level = "warning"
subject = true
[metrics]
address = []
[state]
path = "state.db"
)toml";

TEST_F(LoadTest, top_and_tls) {
  const auto config = good(full);
  ASSERT_NE(config, nullptr);
  EXPECT_THAT(config->policy.local_domains, ElementsAre("example.com", "*.xn--bcher-kva.example"));
  EXPECT_EQ(config->workers, 3U);
  EXPECT_EQ(config->drain_seconds, 60U);
  EXPECT_EQ(config->received_fields_max, 30U);
  EXPECT_EQ(config->tls.minimum_version, 0x0304);
  EXPECT_THAT(config->tls.curves, ElementsAre("X25519", "P-256"));
  EXPECT_EQ(config->tls.client_ca, site_.path("ca.pem"));
  EXPECT_EQ(config->tls.ticket_key_hours, 6U);
  ASSERT_EQ(config->tls.certificates.size(), 2U);
  EXPECT_THAT(config->tls.certificates[0].server_names, IsEmpty());
  EXPECT_THAT(config->tls.certificates[1].server_names, ElementsAre("*.example.com"));
  EXPECT_EQ(config->journal.sink, metrics::JournalSettings::Sink::file);
  EXPECT_EQ(config->journal.path, site_.path("journal.log"));
  EXPECT_EQ(config->journal.level, metrics::EventRecord::Level::warning);
  EXPECT_TRUE(config->journal.subject);
  EXPECT_THAT(config->admin.sockets, IsEmpty());
  EXPECT_EQ(config->state_path, site_.path("state.db"));
}

TEST_F(LoadTest, listeners) {
  const auto config = good(full);
  ASSERT_NE(config, nullptr);
  ASSERT_EQ(config->listeners.size(), 2U);
  const Listener& mx = config->listeners[0];
  EXPECT_EQ(mx.sockets.size(), 2U);
  EXPECT_EQ(policy::to_string(mx.sockets[1].address), "::1");
  EXPECT_EQ(mx.tls, ListenerTls::off);
  EXPECT_EQ(mx.auth, AuthMode::off);
  EXPECT_TRUE(mx.proxy_protocol);
  EXPECT_EQ(mx.upstream, "new");
  EXPECT_EQ(mx.banner, "hello");
  EXPECT_EQ(mx.bare_lf, smtp::BareLf::normalize);
  EXPECT_TRUE(mx.hide_client_in_received);
  EXPECT_FALSE(mx.hide_login_in_received);
  EXPECT_EQ(mx.limits.recipients, 50U);  // its own
  EXPECT_EQ(mx.limits.message_octets, 10U * 1024 * 1024);
  EXPECT_EQ(mx.limits.errors, 7U);  // from [limits]
  EXPECT_EQ(mx.limits.command_timeout_seconds, 150U);
  EXPECT_EQ(mx.limits.minimum_bytes_per_second, 1024U);
  EXPECT_EQ(mx.limits.data_timeout_seconds, ListenerLimits{}.data_timeout_seconds);
  const Listener& passed = config->listeners[1];
  EXPECT_EQ(passed.systemd_name, "submissions");
  EXPECT_THAT(passed.sockets, IsEmpty());
  EXPECT_EQ(passed.tls, ListenerTls::implicit);
  EXPECT_EQ(passed.auth, AuthMode::optional);
  EXPECT_THAT(passed.mechanisms, ElementsAre("PLAIN", "EXTERNAL"));
  EXPECT_EQ(passed.client_certificate, ClientCertificate::require);
  EXPECT_EQ(passed.limits.recipients, 20U);
}

TEST_F(LoadTest, upstreams) {
  const auto config = good(full);
  ASSERT_NE(config, nullptr);
  ASSERT_EQ(config->upstreams.size(), 2U);
  const Upstream& old = config->upstreams[0];
  ASSERT_EQ(old.servers.size(), 3U);
  EXPECT_EQ(old.servers[0].port, 2525);
  EXPECT_EQ(old.servers[1].host, "2001:db8::5");
  EXPECT_EQ(old.servers[2].host, "2001:db8::6");
  EXPECT_EQ(old.servers[2].port, 25);
  EXPECT_EQ(old.client_identity, ClientIdentity::xclient);
  EXPECT_EQ(old.tls, UpstreamTls::verified);
  EXPECT_EQ(old.server_name, "mail.example.com");
  EXPECT_EQ(old.login, "gateway");
  EXPECT_EQ(old.password, "hunter2");
  const Upstream& implicit = config->upstreams[1];
  EXPECT_EQ(implicit.servers[0].host, "mail.example.com");
  EXPECT_EQ(implicit.servers[0].port, 465);
  EXPECT_TRUE(implicit.trusted_for_auth);
  EXPECT_FALSE(implicit.chunking);
  EXPECT_EQ(implicit.idle_seconds, 10U);
}

TEST_F(LoadTest, auth) {
  const auto config = good(full);
  ASSERT_NE(config, nullptr);
  using auth::BackendKind;
  EXPECT_THAT(config->auth.backends, ElementsAre(BackendKind::ldap, BackendKind::imap, BackendKind::file));
  const auth::LdapBackend& ldap = config->auth.ldap;
  EXPECT_THAT(ldap.urls, ElementsAre("ldaps://a.example.com", "ldaps://b.example.com"));
  EXPECT_EQ(ldap.bind_password, "hunter2");
  EXPECT_EQ(ldap.filter, "(mail={login})");
  EXPECT_THAT(ldap.address_attributes, ElementsAre("mail"));
  EXPECT_THAT(ldap.group_attributes, ElementsAre("memberOf"));
  EXPECT_EQ(ldap.limits.deadline_ms, 1500U);
  EXPECT_EQ(ldap.limits.breaker_seconds, 60U);
  EXPECT_EQ(config->auth.imap.server, "imap.example.com:143");
  EXPECT_EQ(config->auth.imap.tls, auth::ConnectionTls::starttls);
  EXPECT_TRUE(config->auth.imap.strip_domain);
  EXPECT_EQ(config->auth.imap.append_domain, "example.com");
  EXPECT_EQ(config->auth.cache.ttl_seconds, 60U);
  EXPECT_EQ(config->auth.lockout.mode, policy::Mode::shadow);
  EXPECT_EQ(config->auth.lockout.remember_networks_days, 7U);
  EXPECT_EQ(config->certificate_login.from, CertificateLogin::From::san_dns);
  EXPECT_THAT(config->certificate_login.map, ElementsAre(testing::Pair("printer.example.com", "printer")));
}

// No more than brute-force control remembers of one entry: a limit beyond it would not be the one in force.
TEST_F(LoadTest, lockout_limits_are_those_in_force) {
  const std::string lockout = std::string(minimal) + "[auth.lockout]\n";
  good(lockout + "failures_per_network = 1000\ndistinct_passwords_per_login = 1000\n");
  EXPECT_THAT(bad(lockout + "failures_per_network = 1001\n"),
              HasSubstr("1001 is not in the range 1 to 1000"));
  EXPECT_THAT(bad(lockout + "distinct_passwords_per_login = 1001\n"),
              HasSubstr("1001 is not in the range 1 to 1000"));
}

TEST_F(LoadTest, policy) {
  const auto config = good(full);
  ASSERT_NE(config, nullptr);
  const policy::Settings& policy = config->policy;
  EXPECT_EQ(policy.rate_keys_max, 5000U);
  EXPECT_EQ(policy.identity.name, "owner");
  EXPECT_EQ(policy.identity.subaddress, '\0');
  EXPECT_TRUE(policy.identity.allow_null_reverse_path);
  EXPECT_EQ(policy.outside.spoof_name, "spoof");
  EXPECT_EQ(policy.outside.spoof_mode, policy::Mode::shadow);
  ASSERT_EQ(policy.identity.grants.size(), 2U);
  EXPECT_EQ(policy.identity.grants[0].who, "group:staff");
  EXPECT_EQ(policy.identity.grants[0].send_as, "sales@example.com");
  EXPECT_EQ(policy.identity.grants[1].who, "alice@example.com");
  EXPECT_EQ(policy.identity.grants[1].send_as, "*@example.com");
  ASSERT_EQ(policy.domain_rules.size(), 1U);
  EXPECT_THAT(policy.domain_rules[0].networks, ElementsAre("balancers"));
  EXPECT_THAT(policy.domain_rules[0].logins, ElementsAre("*@example.com"));
  EXPECT_THAT(policy.domain_rules[0].domains, ElementsAre("example.com", "*.example.com"));
  ASSERT_EQ(policy.usage.size(), 1U);
  EXPECT_EQ(policy.usage[0].message_bytes, 5'000'000U);
  EXPECT_EQ(policy.usage[0].attachments_per_message, 0U);
  EXPECT_EQ(policy.usage[0].recipients_per_message, std::nullopt);
  EXPECT_EQ(policy.connections.name, "floods");
  EXPECT_EQ(policy.connections.ipv6_prefix_bits, 48);
  EXPECT_EQ(policy.connections.new_per_minute_per_network, 0U);
  ASSERT_EQ(policy.networks.size(), 1U);
  EXPECT_EQ(policy.networks[0].addresses.size(), 2U);
  EXPECT_TRUE(policy.networks[0].may_relay);
  EXPECT_FALSE(policy.networks[0].may_send_xclient);
}

TEST_F(LoadTest, rates) {
  const auto config = good(full);
  ASSERT_NE(config, nullptr);
  ASSERT_EQ(config->policy.rates.size(), 2U);
  const policy::RateRule& day = config->policy.rates[0];
  EXPECT_EQ(day.key, policy::RateKey::login);
  EXPECT_EQ(day.unit, policy::RateUnit::recipients);
  EXPECT_EQ(day.amount, 500U);
  EXPECT_EQ(day.period_seconds, 86400U);
  EXPECT_THAT(day.exempt_groups, ElementsAre("staff"));
  EXPECT_EQ(day.on_error, policy::OnError::defer);
  const policy::RateRule& bytes = config->policy.rates[1];
  EXPECT_EQ(bytes.key, policy::RateKey::client_net);
  EXPECT_EQ(bytes.unit, policy::RateUnit::bytes);
  EXPECT_EQ(bytes.amount, 2ULL << 30);
  EXPECT_EQ(bytes.period_seconds, 3600U);
  EXPECT_EQ(bytes.mode, policy::Mode::off);
  EXPECT_EQ(bytes.on_error, policy::OnError::allow);
}

TEST_F(LoadTest, workers_zero_is_one_per_cpu) {
  const auto config = good("workers = 0\n" + std::string(minimal));
  ASSERT_NE(config, nullptr);
  EXPECT_GE(config->workers, 1U);
}

TEST_F(LoadTest, text_and_file_agree) {
  const std::string text = replaced(replaced(std::string(minimal), "cert.pem", site_.path("cert.pem")),
                                    "\"key.pem", "\"" + site_.path("key.pem"));
  const Loaded loaded = load_text(replaced(text, "\"users", "\"" + site_.path("users")), "text");
  EXPECT_EQ(all(loaded.problems), "");
  ASSERT_NE(loaded.config, nullptr);
  EXPECT_EQ(loaded.config->path, "text");
}

TEST_F(LoadTest, unreadable) {
  EXPECT_THAT(all(load(site_.path("absent.toml")).problems),
              HasSubstr("absent.toml: error: can not be read: No such"));
  EXPECT_THAT(all(load(site_.root()).problems), HasSubstr("is not a regular file"));
}

TEST_F(LoadTest, inline_password_in_an_open_file_is_a_warning) {
  const std::string text =
      replaced(std::string(full), "bind_password_file = \"secret\"", "bind_password = \"x\"");
  const Loaded open = load(site_.add("portcullis.toml", text, 0644));
  EXPECT_NE(open.config, nullptr);
  EXPECT_THAT(all(open.problems),
              HasSubstr("warning: auth.ldap.bind_password: a password in a file that everybody"));
  EXPECT_EQ(all(load(site_.add("portcullis.toml", text, 0640)).problems), "");
}

// `--config portcullis.toml`, where the program was started: that directory is there.
TEST_F(LoadTest, paths_beside_a_file_named_without_a_directory) {
  const Loaded loaded = load_text(std::string(minimal) + "[state]\npath = \"state.db\"\n", "portcullis.toml");
  EXPECT_EQ(all(loaded.problems).find("there is no directory"), std::string::npos) << all(loaded.problems);
}

TEST_F(LoadTest, too_long) {
  const std::string text = std::string(minimal) + std::string(1024 * 1024, '#');
  EXPECT_THAT(bad(text), HasSubstr("more than 1024 KiB"));
}

TEST_F(LoadTest, a_problem_never_carries_control_characters) {
  EXPECT_EQ(to_string({Problem::Severity::error, "f", 1, 2, "k", "a\x1b[31m\nb\x7f"}),
            "f:1:2: error: k: a?[31m?b?");
  // Those of UTF-8, what turns text round, and octets that are no text (in the name of a file).
  EXPECT_EQ(to_string({Problem::Severity::error, "f\xff", 1, 2, "k\xc2\x9b", "\xe2\x80\xaez\xc3\xbc"}),
            "f?:1:2: error: k??: ???z\xc3\xbc");
}

}  // namespace
}  // namespace portcullis::config
