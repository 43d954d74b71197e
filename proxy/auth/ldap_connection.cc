#include "proxy/auth/ldap_connection.h"

#include <lber.h>
#include <ldap.h>
#include <openldap.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "proxy/auth/ldap_memory.h"
#include "proxy/auth/ldap_tls_reason.h"

namespace portcullis::auth {

namespace {

constexpr char netscape_password_expired[] = "2.16.840.1.113730.3.4.4";
constexpr char system_ca_file[] = "/etc/ssl/certs/ca-certificates.crt";
// No answer that we ask for is larger; a server that sends more is cut off.
constexpr ber_len_t message_octets_max = 4UL * 1024 * 1024;
constexpr std::size_t values_max = 1000;    // of one attribute
constexpr std::size_t messages_max = 2000;  // of one search

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

timeval remaining(Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - Clock::now()).count();
  const auto bounded = std::max<std::int64_t>(left, 1000);
  return {bounded / 1'000'000, bounded % 1'000'000};
}

std::size_t octets_of(const LdapEntry& entry) {
  std::size_t octets = entry.dn.size();
  for (const auto& [name, values] : entry.attributes) {
    octets += name.size();
    for (const std::string& value : values) octets += value.size();
  }
  return octets;
}

std::string diagnostic_of(LDAP* handle) {
  char* text = nullptr;
  ldap_get_option(handle, LDAP_OPT_DIAGNOSTIC_MESSAGE, static_cast<void*>(&text));
  std::string out = text != nullptr ? text : "";
  ldap_memfree(text);
  return out;
}

// A handle whose TLS settings fail has none of its own: libldap would take the system's (ldap.conf) instead,
// and trust whom they trust.
int set_tls(LDAP* handle, const LdapBackend& settings) {
  const int require = settings.verify_certificate ? LDAP_OPT_X_TLS_DEMAND : LDAP_OPT_X_TLS_NEVER;
  int code = ldap_set_option(handle, LDAP_OPT_X_TLS_REQUIRE_CERT, &require);
  std::string ca_file = settings.ca_file;
  if (ca_file.empty() && ::access(system_ca_file, R_OK) == 0) ca_file = system_ca_file;
  if (code == LDAP_OPT_SUCCESS && !ca_file.empty()) {
    code = ldap_set_option(handle, LDAP_OPT_X_TLS_CACERTFILE, ca_file.c_str());
  }
  const int client = 0;
  return code == LDAP_OPT_SUCCESS ? ldap_set_option(handle, LDAP_OPT_X_TLS_NEWCTX, &client) : code;
}

// libldap's text stays where our own TLS client finds no fault.
void explain_tls(LdapError& error, const LdapBackend& settings, const std::string& url, Deadline deadline) {
  if (const std::string reason = ldap_tls_reason(settings, url, deadline); !reason.empty()) {
    error.text = url + ": " + reason;
  }
}

// libldap waits for an answer in poll(), as long as we say; but once that has begun to come, it would wait
// for the rest in recv(), and for ever if the server died meanwhile.
void never_wait_in_recv(Sockbuf* socket) { ber_sockbuf_ctrl(socket, LBER_SB_OPT_SET_NONBLOCK, socket); }

}  // namespace

std::vector<std::string> LdapEntry::values(std::string_view attribute) const {
  std::vector<std::string> found;
  for (const auto& [name, values] : attributes) {
    const std::string_view base = std::string_view(name).substr(0, name.find(';'));
    if (std::ranges::equal(base, attribute, {}, lower, lower)) {
      found.insert(found.end(), values.begin(), values.end());
    }
  }
  return found;
}

void LdapConnection::Unbind::operator()(ldap* handle) const { ldap_unbind_ext(handle, nullptr, nullptr); }

void LdapConnection::FreeMessage::operator()(ldapmsg* message) const { ldap_msgfree(message); }

LdapError LdapConnection::error(const char* what, int code) const {
  LdapError error;
  error.text = std::string(what) + ": " + ldap_err2string(code);
  if (const std::string text = diagnostic_of(handle_.get()); !text.empty()) error.text += " (" + text + ")";
  // Negative codes are libldap's own: connection, encoding, time. After BUSY, UNAVAILABLE and the
  // like another server may do better.
  error.lost = code < 0 || code == LDAP_BUSY || code == LDAP_UNAVAILABLE || code == LDAP_PROTOCOL_ERROR ||
               code == LDAP_OPERATIONS_ERROR;
  return error;
}

std::expected<LdapConnection, LdapError> LdapConnection::open(const LdapBackend& settings,
                                                              const std::string& url, Deadline deadline) {
  wipe_ldap_memory();
  const Deadline connected =
      std::min(deadline, Clock::now() + std::chrono::milliseconds(settings.limits.connect_timeout_ms));
  auto connecting = connect(url, connected);
  if (!connecting) return connecting;
  LdapConnection connection = std::move(*connecting);
  LDAP* const handle = connection.handle_.get();
  const int version = LDAP_VERSION3;
  ldap_set_option(handle, LDAP_OPT_PROTOCOL_VERSION, &version);
  ldap_set_option(handle, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
  ldap_set_option(handle, LDAP_OPT_RESTART, LDAP_OPT_ON);
  const timeval timeout = remaining(connected);
  ldap_set_option(handle, LDAP_OPT_NETWORK_TIMEOUT, &timeout);
  ldap_set_option(handle, LDAP_OPT_TIMEOUT, &timeout);
  if ((settings.starttls || url.starts_with("ldaps://")) && set_tls(handle, settings) != LDAP_OPT_SUCCESS) {
    return std::unexpected(LdapError{
        url + ": TLS can not be set up" + (settings.ca_file.empty() ? "" : " with " + settings.ca_file),
        true});
  }
  if (const int code = connection.begin(url); code != LDAP_SUCCESS) {
    connection.peer_.blame();
    LdapError failed = connection.error(url.c_str(), code);
    if (url.starts_with("ldaps://")) explain_tls(failed, settings, url, connected);
    return std::unexpected(std::move(failed));
  }
  Sockbuf* socket = nullptr;
  ldap_get_option(handle, LDAP_OPT_SOCKBUF, static_cast<void*>(&socket));
  if (socket == nullptr) return std::unexpected(LdapError{url + ": no connection", true});
  ber_len_t most = message_octets_max;
  ber_sockbuf_ctrl(socket, LBER_SB_OPT_SET_MAX_INCOMING, &most);
  never_wait_in_recv(socket);
  if (settings.starttls) {
    if (auto done = connection.start_tls(connected); !done) {
      done.error().text = url + ": " + done.error().text;
      explain_tls(done.error(), settings, url, connected);
      return std::unexpected(std::move(done.error()));
    }
  }
  never_wait_in_recv(socket);  // the handshake has put that back
  return connection;
}

// libldap would look the name up itself, and give each of its addresses all of the time.
std::expected<LdapConnection, LdapError> LdapConnection::connect(const std::string& url, Deadline deadline) {
  LDAPURLDesc* raw = nullptr;
  if (const int code = ldap_url_parse(url.c_str(), &raw); code != LDAP_URL_SUCCESS) {
    return std::unexpected(LdapError{url + ": not an LDAP URL", true});
  }
  const std::unique_ptr<LDAPURLDesc, void (*)(LDAPURLDesc*)> parts(raw, ldap_free_urldesc);
  LDAP* handle = nullptr;
  if (url.starts_with("ldapi:")) {
    const int code = ldap_initialize(&handle, url.c_str());
    if (code != LDAP_SUCCESS) return std::unexpected(LdapError{url + ": " + ldap_err2string(code), true});
    return LdapConnection(handle);
  }
  const std::string host =
      parts->lud_host != nullptr && *parts->lud_host != 0 ? parts->lud_host : "localhost";
  auto stream = SocketStream::connect(host, static_cast<std::uint16_t>(parts->lud_port), deadline);
  if (!stream) return std::unexpected(LdapError{url + ": " + stream.error(), true});
  const int fd = stream->release();
  if (const int code = ldap_init_fd(fd, LDAP_PROTO_TCP, url.c_str(), &handle); code != LDAP_SUCCESS) {
    ::close(fd);
    return std::unexpected(LdapError{url + ": " + ldap_err2string(code), true});
  }
  LdapConnection connection(handle);
  connection.peer_ = stream->peer();
  return connection;
}

// With the settings of TLS in place.
int LdapConnection::begin(const std::string& url) {
  if (url.starts_with("ldapi:")) return ldap_connect(handle_.get());
  return url.starts_with("ldaps:") ? ldap_install_tls(handle_.get()) : LDAP_SUCCESS;
}

std::expected<void, LdapError> LdapConnection::start_tls(Deadline deadline) {
  int id = 0;
  int code = ldap_start_tls(handle_.get(), nullptr, nullptr, &id);
  if (code != LDAP_SUCCESS) return std::unexpected(error("StartTLS", code));
  auto message = wait(id, deadline);
  if (!message) return std::unexpected(std::move(message.error()));
  int result = LDAP_OTHER;
  code = ldap_parse_result(handle_.get(), message->get(), &result, nullptr, nullptr, nullptr, nullptr, 0);
  if (code == LDAP_SUCCESS) code = result;
  if (code == LDAP_SUCCESS) code = ldap_install_tls(handle_.get());
  if (code == LDAP_SUCCESS) return {};
  LdapError failed = error("StartTLS", code);
  failed.lost = true;  // never go on without
  return std::unexpected(std::move(failed));
}

std::expected<LdapConnection::Message, LdapError> LdapConnection::wait(int message_id, Deadline deadline) {
  timeval timeout = remaining(deadline);
  LDAPMessage* raw = nullptr;
  const int type = ldap_result(handle_.get(), message_id, LDAP_MSG_ONE, &timeout, &raw);
  Message message(raw);
  if (type > 0) return message;
  if (type == 0) {
    peer_.blame();
    return std::unexpected(LdapError{"no answer within the deadline", true});
  }
  int code = LDAP_SERVER_DOWN;
  ldap_get_option(handle_.get(), LDAP_OPT_RESULT_CODE, &code);
  return std::unexpected(error("lost", code));
}

void LdapConnection::read_policy(ldapcontrol** controls, LdapBindReply& reply) const {
  if (controls == nullptr) return;
  if (LDAPControl* const found = ldap_control_find(LDAP_CONTROL_PASSWORDPOLICYRESPONSE, controls, nullptr)) {
    ber_int_t expire = -1;
    ber_int_t grace = -1;
    LDAPPasswordPolicyError policy = PP_noError;
    if (ldap_parse_passwordpolicy_control(handle_.get(), found, &expire, &grace, &policy) == LDAP_SUCCESS) {
      if (expire >= 0) reply.expires_seconds = expire;
      if (grace >= 0) reply.grace_logins = grace;
      switch (policy) {
        case PP_noError:
          break;
        case PP_passwordExpired:
          reply.policy = PolicyError::password_expired;
          break;
        case PP_accountLocked:
          reply.policy = PolicyError::account_locked;
          break;
        case PP_changeAfterReset:
          reply.policy = PolicyError::change_after_reset;
          break;
        default:
          reply.policy = PolicyError::other;
          break;
      }
    }
  }
  reply.expired_control = ldap_control_find(netscape_password_expired, controls, nullptr) != nullptr;
}

std::expected<LdapBindReply, LdapError> LdapConnection::bind(const std::string& dn, std::string_view password,
                                                             Deadline deadline) {
  if (password.empty()) return std::unexpected(LdapError{"an empty password is never bound with", false});
  std::string copy(password);
  berval credentials{copy.size(), copy.data()};
  std::string oid = LDAP_CONTROL_PASSWORDPOLICYREQUEST;
  LDAPControl policy{oid.data(), {0, nullptr}, 0};
  LDAPControl* controls[] = {&policy, nullptr};
  int id = 0;
  // libldap copies the password into its buffer, which ldap_memory.h wipes.
  const int sent = ldap_sasl_bind(handle_.get(), dn.c_str(), LDAP_SASL_SIMPLE, &credentials,
                                  static_cast<LDAPControl**>(controls), nullptr, &id);
  smtp::wipe(copy);
  if (sent != LDAP_SUCCESS) return std::unexpected(error("bind", sent));
  auto message = wait(id, deadline);
  if (!message) return std::unexpected(std::move(message.error()));

  LdapBindReply reply;
  char* text = nullptr;
  LDAPControl** answered = nullptr;
  const int code =
      ldap_parse_result(handle_.get(), message->get(), &reply.code, nullptr, &text, nullptr, &answered, 0);
  if (text != nullptr) reply.diagnostic = text;
  ldap_memfree(text);
  if (code == LDAP_SUCCESS) read_policy(answered, reply);
  if (answered != nullptr) ldap_controls_free(answered);
  if (code != LDAP_SUCCESS) return std::unexpected(error("bind", code));
  return reply;
}

LdapEntry LdapConnection::read_entry(ldapmsg* message) const {
  LDAP* const handle = handle_.get();
  LdapEntry entry;
  char* dn = ldap_get_dn(handle, message);
  if (dn != nullptr) entry.dn = dn;
  ldap_memfree(dn);
  BerElement* position = nullptr;
  for (char* name = ldap_first_attribute(handle, message, &position); name != nullptr;
       name = ldap_next_attribute(handle, message, position)) {
    auto& attribute = entry.attributes.emplace_back(name, std::vector<std::string>());
    berval** values = ldap_get_values_len(handle, message, name);
    for (std::size_t i = 0; values != nullptr && values[i] != nullptr && i < values_max; ++i) {
      attribute.second.emplace_back(values[i]->bv_val, values[i]->bv_len);
    }
    ldap_value_free_len(values);
    ldap_memfree(name);
  }
  if (position != nullptr) ber_free(position, 0);
  return entry;
}

std::expected<LdapSearchResult, LdapError> LdapConnection::search(const std::string& base, Scope scope,
                                                                  const std::string& filter,
                                                                  const std::vector<std::string>& attributes,
                                                                  int limit, Deadline deadline) {
  std::vector<std::string> names = attributes;
  if (names.empty()) names.emplace_back(LDAP_NO_ATTRS);
  std::vector<char*> wanted;
  wanted.reserve(names.size() + 1);
  for (std::string& name : names) wanted.push_back(name.data());
  wanted.push_back(nullptr);
  timeval timeout = remaining(deadline);
  int id = 0;
  const int sent = ldap_search_ext(handle_.get(), base.c_str(),
                                   scope == Scope::base ? LDAP_SCOPE_BASE : LDAP_SCOPE_SUBTREE,
                                   filter.c_str(), wanted.data(), 0, nullptr, nullptr, &timeout, limit, &id);
  if (sent != LDAP_SUCCESS) return std::unexpected(error("search", sent));

  // One message after another: all together libldap would collect without a bound, and nobody holds a server
  // to the limit that was asked for.
  LDAP* const handle = handle_.get();
  LdapSearchResult result;
  Message message;
  std::size_t octets = 0;
  for (std::size_t messages = 0;; ++messages) {
    auto next = wait(id, deadline);
    if (!next) return std::unexpected(std::move(next.error()));
    message = std::move(*next);
    const int type = ldap_msgtype(message.get());
    if (type == LDAP_RES_SEARCH_RESULT) break;
    if (type == LDAP_RES_SEARCH_ENTRY) {
      result.entries.push_back(read_entry(message.get()));
      octets += octets_of(result.entries.back());
    }
    // The others are references to other servers, which are not followed.
    if (result.entries.size() > static_cast<std::size_t>(limit) || octets > message_octets_max ||
        messages > messages_max) {
      return std::unexpected(LdapError{"search: the server sends more than was asked for", true});
    }
  }
  int outcome = LDAP_OTHER;
  char* text = nullptr;
  const int code = ldap_parse_result(handle, message.get(), &outcome, nullptr, &text, nullptr, nullptr, 0);
  ldap_memfree(text);
  if (code != LDAP_SUCCESS) return std::unexpected(error("search", code));
  if (outcome == LDAP_SIZELIMIT_EXCEEDED) {
    result.more = true;
  } else if (outcome == LDAP_NO_SUCH_OBJECT && scope == Scope::base) {
    result.entries.clear();
  } else if (outcome != LDAP_SUCCESS) {
    return std::unexpected(error("search", outcome));
  }
  return result;
}

}  // namespace portcullis::auth
