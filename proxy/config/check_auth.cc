#include <algorithm>
#include <string_view>

#include "proxy/config/check.h"

namespace portcullis::config {

namespace {

using auth::BackendKind;
using auth::ConnectionTls;

// Host of "ldap://host:port/…" or "host:port".
std::string_view host_of(std::string_view url) {
  if (const auto scheme = url.find("://"); scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  if (url.starts_with('[')) return url.substr(1, url.find(']') - 1);
  return url.substr(0, url.find_first_of(":/"));
}

void check_url(const Check& check, const std::string& url) {
  const bool plain = url.starts_with("ldap://"), implicit = url.starts_with("ldaps://");
  if (!plain && !implicit && !url.starts_with("ldapi://")) {
    check.error("auth.ldap.url", "\"" + url + "\" starts neither with ldap:// nor with ldaps://");
    return;
  }
  if (implicit && check.config.auth.ldap.starttls) {
    check.error("auth.ldap.starttls", "contradicts " + url + ", which is TLS from the start");
  }
  if (plain && !check.config.auth.ldap.starttls && !is_loopback_host(host_of(url))) {
    check.warning("auth.ldap.url", "passwords go to " + url + " in clear; use ldaps:// or starttls");
  }
}

bool has_placeholder(std::string_view text) {
  return text.find("{login}") != std::string_view::npos || text.find("{local}") != std::string_view::npos;
}

bool balanced(std::string_view filter) {
  int depth = 0;
  for (const char c : filter) {
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (depth < 0) return false;
  }
  return depth == 0 && filter.starts_with('(') && filter.ends_with(')');
}

void check_search(const Check& check) {
  const auth::LdapBackend& ldap = check.config.auth.ldap;
  const std::string filter = "auth.ldap.filter", dn_template = "auth.ldap.dn_template";
  if (ldap.filter.empty() == ldap.dn_template.empty()) {
    check.error(ldap.filter.empty() ? "auth.ldap" : dn_template,
                "give either filter (with base_dn) or dn_template");
  }
  if (!ldap.filter.empty()) {
    if (ldap.base_dn.empty())
      check.error("auth.ldap.base_dn", "missing; a search with filter starts somewhere");
    if (!balanced(ldap.filter)) check.error(filter, "is not one filter in parentheses (RFC 4515)");
    if (!has_placeholder(ldap.filter))
      check.error(filter, "does not contain {login} or {local}: it would find anybody");
  }
  if (!ldap.dn_template.empty() && !has_placeholder(ldap.dn_template)) {
    check.error(dn_template, "does not contain {login} or {local}: everybody would be the same");
  }
  if (!ldap.group_base_dn.empty() && (!balanced(ldap.group_filter) || ldap.group_filter.empty())) {
    check.error("auth.ldap.group_filter", "needed with group_base_dn: one filter in parentheses");
  }
}

void check_ldap(const Check& check) {
  const auth::LdapBackend& ldap = check.config.auth.ldap;
  if (ldap.urls.empty() && !check.given("auth.ldap.url")) {
    check.error("auth.ldap.url", "missing; backend \"ldap\" needs a server");
  }
  for (const std::string& url : ldap.urls) check_url(check, url);
  check_search(check);
  const bool password = check.given("auth.ldap.bind_password") || check.given("auth.ldap.bind_password_file");
  if (!ldap.bind_dn.empty() && !password) {
    check.error("auth.ldap.bind_dn", "needs bind_password or bind_password_file");
  }
  if (!ldap.verify_certificate) {
    check.warning("auth.ldap.verify_certificate", "any server that answers is trusted with passwords");
  }
}

void check_imap(const Check& check) {
  const auth::ImapBackend& imap = check.config.auth.imap;
  if (imap.server.empty()) {
    if (!check.given("auth.imap.server"))
      check.error("auth.imap.server", "missing; backend \"imap\" needs a server");
    return;
  }
  if (imap.domains.empty() && !imap.strip_domain && !check.given("auth.imap.domains")) {
    check.warning("auth.imap",
                  "domains is missing: if this server ignores the domain of a login, alice@anything "
                  "logs in as alice, each time as another account with limits of its own");
  }
  if (imap.tls == ConnectionTls::off && !is_loopback_host(host_of(imap.server))) {
    check.error("auth.imap.tls", "would send passwords in clear to another machine");
  }
  if (!imap.verify_certificate && imap.tls != ConnectionTls::off) {
    check.warning("auth.imap.verify_certificate", "any server that answers is trusted with passwords");
  }
}

}  // namespace

void check_auth(const Check& check) {
  const auth::Settings& auth = check.config.auth;
  const auto& backends = auth.backends;
  for (std::size_t i = 0; i < backends.size(); ++i) {
    const auto here = backends.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::find(backends.begin(), here, *here) != here) {
      check.error("auth.backends", "names a backend twice");
    } else if (*here == BackendKind::ldap) {
      check_ldap(check);
    } else if (*here == BackendKind::imap) {
      check_imap(check);
    } else if (auth.file.path.empty() && !check.given("auth.file.path")) {
      check.error("auth.file.path", "missing; backend \"file\" needs it");
    }
  }
  if (auth.lockout.first_delay_ms > auth.lockout.max_delay_ms) {
    check.error("auth.lockout.first_delay", "is more than max_delay");
  }
}

}  // namespace portcullis::config
