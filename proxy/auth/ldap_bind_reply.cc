#include "proxy/auth/ldap_bind_reply.h"

#include <ldap.h>

#include <charconv>

namespace portcullis::auth {

namespace {

BindVerdict judge_success(const LdapBindReply& reply) {
  if (reply.policy == PolicyError::change_after_reset) {
    return {Result::password_expired, "the password must be changed"};
  }
  // Without grace logins left a server should have refused; one that lets in only to change the
  // password says so this way.
  if (reply.expired_control || (reply.policy == PolicyError::password_expired && !reply.grace_logins)) {
    return {Result::password_expired, "the password has expired"};
  }
  if (reply.grace_logins) {
    return {Result::success,
            "the password has expired; grace logins left: " + std::to_string(*reply.grace_logins)};
  }
  if (reply.expires_seconds) {
    return {Result::success, "the password expires in " + std::to_string(*reply.expires_seconds) + " s"};
  }
  return {Result::success, {}};
}

BindVerdict judge_refusal(const LdapBindReply& reply) {
  switch (reply.policy) {
    case PolicyError::account_locked:
      return {Result::disabled, "the account is locked"};
    case PolicyError::password_expired:
      return {Result::password_expired, "the password has expired"};
    case PolicyError::change_after_reset:
      return {Result::password_expired, "the password must be changed"};
    default:
      break;
  }
  if (reply.expired_control) return {Result::password_expired, "the password has expired"};
  switch (active_directory_code(reply.diagnostic)) {
    case 0x525:
      return {Result::bad_credentials, "no such login"};
    case 0x530:
      return {Result::disabled, "not allowed to log in at this time"};
    case 0x531:
      return {Result::disabled, "not allowed to log in from here"};
    case 0x532:
      return {Result::password_expired, "the password has expired"};
    case 0x533:
      return {Result::disabled, "the account is disabled"};
    case 0x701:
      return {Result::disabled, "the account has expired"};
    case 0x773:
      return {Result::password_expired, "the password must be changed"};
    case 0x775:
      return {Result::disabled, "the account is locked"};
    default:
      return {Result::bad_credentials, "wrong password"};
  }
}

}  // namespace

unsigned active_directory_code(std::string_view diagnostic) {
  static constexpr std::string_view mark = ", data ";
  // Only in Active Directory's own sentence, so that no other server's text is misread.
  if (diagnostic.find("AcceptSecurityContext") == std::string_view::npos) return 0;
  const std::size_t at = diagnostic.find(mark);
  if (at == std::string_view::npos) return 0;
  diagnostic.remove_prefix(at + mark.size());
  unsigned code = 0;
  const auto [end, error] =
      std::from_chars(diagnostic.data(), diagnostic.data() + diagnostic.size(), code, 16);
  const bool whole = end != diagnostic.data() + diagnostic.size() && *end == ',';
  return error == std::errc() && whole ? code : 0;
}

BindVerdict judge(const LdapBindReply& reply) {
  switch (reply.code) {
    case LDAP_SUCCESS:
      return judge_success(reply);
    case LDAP_INVALID_CREDENTIALS:
      return judge_refusal(reply);
    case LDAP_NO_SUCH_OBJECT:  // some servers, for a DN made from a template
      return {Result::bad_credentials, "no such login"};
    case LDAP_INAPPROPRIATE_AUTH:  // the entry has no password
      return {Result::bad_credentials, "the account has no password"};
    case LDAP_CONSTRAINT_VIOLATION:  // 389 Directory Server: "Exceed password retry limit"
      return {Result::disabled, "the account is locked: " + reply.diagnostic};
    case LDAP_UNWILLING_TO_PERFORM:
      // 389 Directory Server and FreeIPA: "Account inactivated", "Account is locked".
      if (reply.diagnostic.find("nactivated") != std::string::npos ||
          reply.diagnostic.find("locked") != std::string::npos) {
        return {Result::disabled, reply.diagnostic};
      }
      break;
    default:
      break;
  }
  std::string detail = ldap_err2string(reply.code);
  if (!reply.diagnostic.empty()) detail += " (" + reply.diagnostic + ")";
  return {Result::backend_error, std::move(detail)};
}

}  // namespace portcullis::auth
