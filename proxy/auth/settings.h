// What the admin chose for authentication: plain data, filled and checked by proxy/config.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "policy/settings.h"

namespace portcullis::auth {

enum class BackendKind : std::uint8_t { file, ldap, imap };
enum class ConnectionTls : std::uint8_t { off, starttls, implicit };

// Shared by the backends that talk over the network.
struct BackendLimits {
  std::uint32_t connections_max = 8;        // threads and connections of this backend
  std::uint32_t waiting_max = 256;          // requests queued; more get backend_error at once
  std::uint32_t deadline_ms = 10000;        // per request, queueing included
  std::uint32_t connect_timeout_ms = 3000;  // per server
  std::uint32_t breaker_failures = 5;       // consecutive failures that open the circuit breaker
  std::uint32_t breaker_seconds = 10;       // how long it stays open before one trial request
  bool operator==(const BackendLimits&) const = default;
};

struct FileBackend {
  std::string path;
  bool operator==(const FileBackend&) const = default;
};

struct LdapBackend {
  std::vector<std::string> urls;  // ldap://host:port or ldaps://…, tried in order
  bool starttls = false;          // with ldap:// only
  std::string ca_file;            // empty: the system's
  bool verify_certificate = true;
  std::string bind_dn;  // for the search; empty: anonymous
  std::string bind_password;
  std::string base_dn;
  std::string filter;           // "(&(objectClass=inetOrgPerson)(mail={login}))"; {login}, {local}, {domain}
  std::string dn_template;      // instead of a search: "uid={local},ou=people,dc=example,dc=com"
  std::string login_attribute;  // canonical login is read from here; empty: what the client said
  std::vector<std::string> address_attributes = {"mail", "proxyAddresses", "mailAlternateAddress"};
  std::vector<std::string> group_attributes = {"memberOf"};  // DNs (first RDN value) or plain names
  std::string group_base_dn;                                 // optional search for groups…
  std::string group_filter;                                  // "(&(objectClass=groupOfNames)(member={dn}))"
  std::string group_name_attribute = "cn";
  std::string grant_attribute;       // optional: values are addresses the entry may send as
  std::vector<std::string> domains;  // patterns: a login of another domain is not asked about; empty: any
  BackendLimits limits;
  bool operator==(const LdapBackend&) const = default;
};

struct ImapBackend {
  std::string server;  // "host:port"
  ConnectionTls tls = ConnectionTls::implicit;
  std::string ca_file;  // empty: the system's
  bool verify_certificate = true;
  bool strip_domain = false;         // log in with the local part only
  std::string append_domain;         // owned address for a login without '@'
  std::vector<std::string> domains;  // as LdapBackend::domains; append_domain is always one
  BackendLimits limits;
  bool operator==(const ImapBackend&) const = default;
};

struct Cache {
  std::uint32_t ttl_seconds = 300;  // 0: no cache
  std::uint32_t negative_ttl_seconds = 10;
  std::uint32_t entries_max = 10000;
  bool operator==(const Cache&) const = default;
};

struct Settings {
  std::vector<BackendKind> backends;  // asked in order; empty: no AUTH possible
  FileBackend file;
  LdapBackend ldap;
  ImapBackend imap;
  Cache cache;
  policy::LockoutRule lockout;
};

}  // namespace portcullis::auth
