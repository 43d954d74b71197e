// One connection to one directory server through libldap: verified TLS, bind, bounded search, each with
// a deadline. Used by one thread only (an LDAP* and what hangs on it is not made for more). Referrals
// are never followed: credentials go to the servers that were named and to no other.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/auth/backend.h"
#include "proxy/auth/ldap_bind_reply.h"
#include "proxy/auth/settings.h"
#include "proxy/auth/socket_stream.h"

struct ldap;
struct ldapmsg;
struct ldapcontrol;

namespace portcullis::auth {

struct LdapError {
  std::string text;
  bool lost = false;  // the connection is of no use any more
};

struct LdapEntry {
  std::string dn;
  std::vector<std::pair<std::string, std::vector<std::string>>> attributes;  // as the server spells them

  // All values of an attribute, whatever its case and options ("mail;lang-en").
  std::vector<std::string> values(std::string_view attribute) const;
};

struct LdapSearchResult {
  std::vector<LdapEntry> entries;  // at most the limit asked for
  bool more = false;               // there would have been more
};

class LdapConnection {
 public:
  // Connects, TLS as the settings say included. Takes at most connect_timeout_ms.
  static std::expected<LdapConnection, LdapError> open(const LdapBackend& settings, const std::string& url,
                                                       Deadline deadline);

  // A simple bind (RFC 4513 5.1.3) with the password policy control. `password` must not be empty: that
  // would be an unauthenticated bind, which servers answer with success (5.1.2).
  std::expected<LdapBindReply, LdapError> bind(const std::string& dn, std::string_view password,
                                               Deadline deadline);

  enum class Scope : std::uint8_t { base, subtree };
  std::expected<LdapSearchResult, LdapError> search(const std::string& base, Scope scope,
                                                    const std::string& filter,
                                                    const std::vector<std::string>& attributes, int limit,
                                                    Deadline deadline);

 private:
  struct Unbind {
    void operator()(ldap* handle) const;
  };
  struct FreeMessage {
    void operator()(ldapmsg* message) const;
  };
  using Message = std::unique_ptr<ldapmsg, FreeMessage>;

  explicit LdapConnection(ldap* handle) : handle_(handle) {}
  int begin(const std::string& url);
  static std::expected<LdapConnection, LdapError> connect(const std::string& url, Deadline deadline);
  std::expected<void, LdapError> start_tls(Deadline deadline);
  std::expected<Message, LdapError> wait(int message_id, Deadline deadline);
  LdapError error(const char* what, int code) const;
  LdapEntry read_entry(ldapmsg* message) const;
  void read_policy(ldapcontrol** controls, LdapBindReply& reply) const;

  std::unique_ptr<ldap, Unbind> handle_;
  PeerAddress peer_;  // none for a local socket
};

}  // namespace portcullis::auth
