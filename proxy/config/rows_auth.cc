// [auth] and what is below it.
#include "proxy/config/rows.h"

namespace portcullis::config {

namespace {

using auth::BackendKind;
using auth::BackendLimits;
using auth::Cache;
using auth::ConnectionTls;
using auth::FileBackend;
using auth::ImapBackend;
using auth::LdapBackend;
using policy::LockoutRule;

const Table<FileBackend>& file_backend_table() {
  static const Table<FileBackend> table{
      "Accounts in a file, written with `portcullis passwd`.",
      {row("path", &FileBackend::path, path(), "The file. It is read again when it changes.")},
      {}};
  return table;
}

template <class Backend>
std::vector<Row<Backend>> backend_limit_rows() {
  const auto limit = [](auto BackendLimits::* field) {
    return [field](Backend& backend) -> auto& { return backend.limits.*field; };
  };
  return {
      row_of<Backend>("connections_max", limit(&BackendLimits::connections_max), count(1, 256),
                      "Questions asked at a time, each on its own connection and thread."),
      row_of<Backend>("waiting_max", limit(&BackendLimits::waiting_max), count(1, 100000),
                      "Logins that may wait for one; more are answered 454 at once."),
      row_of<Backend>("deadline", limit(&BackendLimits::deadline_ms), milliseconds(100, 120000),
                      "For one login, waiting included; after it the answer is 454."),
      row_of<Backend>("connect_timeout", limit(&BackendLimits::connect_timeout_ms), milliseconds(100, 60000),
                      "For the connection to one server, before the next is tried."),
      row_of<Backend>("breaker_failures", limit(&BackendLimits::breaker_failures), count(1, 1000),
                      "Failures in a row after which the backend is left alone for a while."),
      row_of<Backend>("breaker_pause", limit(&BackendLimits::breaker_seconds), seconds(1, 3600),
                      "How long it is left alone; logins are then answered 454 at once."),
  };
}

std::vector<Row<LdapBackend>> ldap_connection_rows() {
  using L = LdapBackend;
  return {
      row("url", &L::urls, some(some_text()),
          "`ldap://host:port` or `ldaps://host:port`; several are tried in order."),
      row("starttls", &L::starttls, boolean(), "StartTLS, with `ldap://`."),
      row("ca_file", &L::ca_file, path(), "PEM bundle to verify with; empty: the system's."),
      row("verify_certificate", &L::verify_certificate, boolean(),
          "Off only for a test: whoever answers then gets every password."),
      row("bind_dn", &L::bind_dn, text(), "Who searches; empty: anonymous."),
      row("bind_password", &L::bind_password, secret(), "The password of `bind_dn`."),
      row("bind_password_file", &L::bind_password, secret_file(),
          "Instead of `bind_password`: a file with the password, not readable by others."),
  };
}

std::vector<Row<LdapBackend>> ldap_search_rows() {
  using L = LdapBackend;
  return {
      row("base_dn", &L::base_dn, text(), "Where the search for the account starts."),
      row("filter", &L::filter, text(),
          "Finds the account: `{login}` is what the client said, `{local}` and `{domain}` its two "
          "sides of the `@`, all escaped."),
      row("dn_template", &L::dn_template, text(),
          "Instead of a search: the account's DN, with the same placeholders, such as "
          "`uid={local},ou=people,dc=example,dc=com`."),
      row("login_attribute", &L::login_attribute, text(),
          "The attribute with the account's login, so that it is one account however the client spelled it; "
          "empty: "
          "as the client said."),
      row("address_attributes", &L::address_attributes, list(some_text(), 32),
          "Attributes with the addresses an account owns (`smtp:` before an address is understood)."),
      row("group_attributes", &L::group_attributes, list(some_text(), 32),
          "Attributes with the account's groups: names, or DNs whose first value is the name."),
      row("group_base_dn", &L::group_base_dn, text(),
          "Where a search for groups starts; empty: none is made."),
      row("group_filter", &L::group_filter, text(),
          "Finds the groups: `{dn}` is the account's; such as `(&(objectClass=groupOfNames)(member={dn}))`."),
      row("group_name_attribute", &L::group_name_attribute, some_text(),
          "The attribute with a found group's name."),
      row("grant_attribute", &L::grant_attribute, text(),
          "An attribute with more addresses the account may send as, `*@example.com` for a whole domain "
          "included. Users must not be able to edit it; empty: none."),
      row("domains", &L::domains, list(domain_pattern()),
          "Logins of other domains are refused without asking; empty: every domain is asked about."),
  };
}

const Table<LdapBackend>& ldap_table() {
  static const Table<LdapBackend> table = [] {
    Table<LdapBackend> ldap{"Accounts in a directory (OpenLDAP, Active Directory and others).", {}, {}};
    for (auto* rows : {&ldap_connection_rows, &ldap_search_rows, &backend_limit_rows<LdapBackend>}) {
      for (auto& row : rows()) ldap.rows.push_back(std::move(row));
    }
    return ldap;
  }();
  return table;
}

std::vector<Row<ImapBackend>> imap_rows() {
  using I = ImapBackend;
  return {
      row("server", &I::server, some_text(), "The server, `host:port`."),
      row("tls", &I::tls,
          choice<ConnectionTls>({{"off", ConnectionTls::off},
                                 {"starttls", ConnectionTls::starttls},
                                 {"implicit", ConnectionTls::implicit}}),
          "`implicit` for port 993. `off` is for a server on this machine only."),
      row("ca_file", &I::ca_file, path(), "PEM bundle to verify with; empty: the system's."),
      row("verify_certificate", &I::verify_certificate, boolean(),
          "Off only for a test: whoever answers then gets every password."),
      row("strip_domain", &I::strip_domain, boolean(), "Log in there with the part before the `@` only."),
      row("append_domain", &I::append_domain, text(),
          "A login without `@` owns the address `login@append_domain`; empty: none."),
      row("domains", &I::domains, list(domain_pattern()),
          "Logins of other domains (and of `append_domain`) are refused without asking. Needed where the "
          "server "
          "ignores the domain of a login: it would let `alice@anything` in as `alice`. Empty: every domain "
          "is "
          "asked about."),
  };
}

const Table<ImapBackend>& imap_table() {
  static const Table<ImapBackend> table = [] {
    Table<ImapBackend> imap{"Accounts are whoever an IMAP server lets in.", imap_rows(), {}};
    for (auto& row : backend_limit_rows<ImapBackend>()) imap.rows.push_back(std::move(row));
    return imap;
  }();
  return table;
}

const Table<Cache>& cache_table() {
  static const Table<Cache> table{
      "Answers of the network backends are remembered (as keyed hashes), so that a mail client's many "
      "connections are "
      "one question.",
      {
          row("ttl", &Cache::ttl_seconds, seconds(0, 86400),
              "How long a success is remembered, and so how long a changed password goes unnoticed; `0s`: "
              "not."),
          row("negative_ttl", &Cache::negative_ttl_seconds, seconds(0, 3600),
              "How long a refusal is remembered."),
          row("entries_max", &Cache::entries_max, count(1, 10000000), "How many are remembered."),
      },
      {}};
  return table;
}

const Table<LockoutRule>& lockout_table() {
  using R = LockoutRule;
  static const Table<LockoutRule> table{
      "Brute-force control. Networks an account has logged in from before are not blocked for it by failures "
      "elsewhere.",
      {
          row("mode", &R::mode, mode(), "`shadow`: count and log, but block nobody."),
          row("failures_per_network", &R::failures_per_network, count(1, 1000),
              "Distinct pairs of login and password that fail from one network (IPv6: /64) before it is "
              "blocked."),
          row("distinct_passwords_per_login", &R::distinct_passwords_per_login, count(1, 1000),
              "Distinct passwords that fail for one login before it is blocked from unknown networks. A "
              "forgotten phone "
              "with a stale password counts once."),
          row("window", &R::window_seconds, seconds(1, 86400), "The time in which failures are counted."),
          row("block", &R::block_seconds, seconds(1, 604800), "How long a block lasts."),
          row("first_delay", &R::first_delay_ms, milliseconds(0, 60000),
              "How long the answer to a login that failed before is held back; it doubles with each "
              "failure."),
          row("max_delay", &R::max_delay_ms, milliseconds(0, 60000), "How long it is held back at most."),
          row("remember_networks", &R::remember_networks_days, duration(86'400'000, 1, 3650),
              "How long a network counts as known for a login."),
      },
      {}};
  return table;
}

using LoginMap = std::vector<std::pair<std::string, std::string>>;

// A table of any keys, each with a login.
Type<LoginMap> login_map() {
  auto read = [](Reader& reader, const Value& value, const std::string& key, LoginMap& out) {
    if (value.kind != Value::Kind::table) {
      return reader.expected(value, key, "a table such as { \"printer.example.com\" = \"printer\" }");
    }
    const auto login = login_pattern();
    for (const Entry& entry : value.entries) {
      std::string name;
      login.read(reader, entry.value, key + '.' + entry.key, name);
      if (name.find('*') != std::string::npos) {
        reader.error(entry.value.at, key + '.' + entry.key, "expected one login, not a pattern");
      }
      out.emplace_back(entry.key, std::move(name));
    }
  };
  return {"table of logins", {}, read, [](const LoginMap&) -> std::string { return "[]"; }};
}

const Table<CertificateLogin>& certificate_login_table() {
  using From = CertificateLogin::From;
  static const Table<CertificateLogin> table{"AUTH EXTERNAL: which login a client certificate stands for.",
                                             {
                                                 row("login_from", &CertificateLogin::from,
                                                     choice<From>({{"san_email", From::san_email},
                                                                   {"san_dns", From::san_dns},
                                                                   {"subject_cn", From::subject_cn}}),
                                                     "The part of the certificate that names the client."),
                                                 row("logins", &CertificateLogin::map, login_map(),
                                                     "Which login each such name is, for instance `{ "
                                                     "\"printer.example.com\" = \"printer\" }`; others are "
                                                     "refused. Empty: the name is the login."),
                                             },
                                             {}};
  return table;
}

}  // namespace

const Table<Config>& auth_table() {
  const auto backends = [](Config& c) -> auto& { return c.auth.backends; };
  const auto in_auth = [](auto auth::Settings::* field) {
    return [field](Config& c) -> auto& { return c.auth.*field; };
  };
  static const Table<Config> table{
      "Who may log in.",
      {
          row_of<Config>(
              "backends", backends,
              list(choice<BackendKind>(
                  {{"file", BackendKind::file}, {"ldap", BackendKind::ldap}, {"imap", BackendKind::imap}})),
              "Who is asked, in this order, until one says yes. If none does and one could not be asked, "
              "the answer is 454 and never 535."),
      },
      {
          child_of<Config>("file", in_auth(&auth::Settings::file), file_backend_table()),
          child_of<Config>("ldap", in_auth(&auth::Settings::ldap), ldap_table()),
          child_of<Config>("imap", in_auth(&auth::Settings::imap), imap_table()),
          child_of<Config>("certificate", &Config::certificate_login, certificate_login_table()),
          child_of<Config>("cache", in_auth(&auth::Settings::cache), cache_table()),
          child_of<Config>("lockout", in_auth(&auth::Settings::lockout), lockout_table()),
      }};
  return table;
}

}  // namespace portcullis::config
