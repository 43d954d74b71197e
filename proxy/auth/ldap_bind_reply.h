// What a directory says to a bind: its result code, its diagnostic text and the password policy controls,
// read as one answer about the account. Pure.
#pragma once

#include <optional>
#include <string>

#include "proxy/auth/service.h"

namespace portcullis::auth {

// draft-behera-ldap-password-policy-10 section 6.2.
enum class PolicyError : std::uint8_t { none, password_expired, account_locked, change_after_reset, other };

// NOLINTBEGIN(readability-redundant-member-init): GCC warns of what designated initializers leave out
struct LdapBindReply {
  int code = 0;                 // LDAP result code (RFC 4511 appendix A), or a negative one of libldap
  std::string diagnostic = {};  // as the server said it
  PolicyError policy = PolicyError::none;
  std::optional<int> expires_seconds = {};  // warning: the password expires then
  std::optional<int> grace_logins = {};     // warning: expired, and so many logins are left
  bool expired_control = false;             // 389 Directory Server's own (2.16.840.1.113730.3.4.4)
};
// NOLINTEND(readability-redundant-member-init)

struct BindVerdict {
  Result result = Result::backend_error;
  std::string detail;
};

BindVerdict judge(const LdapBindReply& reply);

// Active Directory's code in "…AcceptSecurityContext error, data 52e, v4563": 0x52e; 0: none.
unsigned active_directory_code(std::string_view diagnostic);

}  // namespace portcullis::auth
