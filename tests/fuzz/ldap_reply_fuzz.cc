// What a hostile directory says: the reply to a bind, and the text of attributes. Only result code 0 logs
// anybody in, and no text can make a filter or a DN mean something else.
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proxy/auth/ldap_bind_reply.h"
#include "proxy/auth/ldap_text.h"

namespace {

using namespace portcullis::auth;

void require(bool holds, const char* law) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", law);
  std::abort();
}

void check_bind(std::uint8_t code, std::uint8_t flags, std::string_view text) {
  LdapBindReply reply;
  reply.code = code < 128 ? code : -static_cast<int>(code - 127);
  reply.diagnostic = text;
  reply.policy = static_cast<PolicyError>(flags % 5);
  if ((flags & 0x20) != 0) reply.expires_seconds = flags;
  if ((flags & 0x40) != 0) reply.grace_logins = flags % 3;
  reply.expired_control = (flags & 0x80) != 0;
  const BindVerdict verdict = judge(reply);
  if (verdict.result == Result::success) {
    require(reply.code == 0, "only result code 0 is a login");
    require(!reply.expired_control, "an expired password is no login");
  }
  if (reply.code < 0)
    require(verdict.result == Result::backend_error, "libldap's own errors are the backend's");
  if (text.find("AcceptSecurityContext") == std::string_view::npos) {
    require(active_directory_code(text) == 0, "a code is read in Active Directory's own sentence only");
  }
}

void check_escapes(std::string_view text) {
  const std::string filter = escape_filter_value(text);
  for (const char c : filter) {
    const auto octet = static_cast<unsigned char>(c);
    require(octet >= 32 && octet < 127 && c != '*' && c != '(' && c != ')',
            "nothing in an escaped value means something in a filter");
  }
  for (std::size_t at = filter.find('\\'); at != std::string::npos; at = filter.find('\\', at + 1)) {
    const auto is_hex = [&](std::size_t i) {
      return i < filter.size() && std::isxdigit(static_cast<unsigned char>(filter[i])) != 0;
    };
    require(is_hex(at + 1) && is_hex(at + 2), "a backslash begins two hexadecimal digits");
  }
  for (const char c : escape_dn_value(text)) {
    require(std::string_view(",+\"<>;=#").find(c) == std::string_view::npos &&
                static_cast<unsigned char>(c) < 127,
            "nothing in an escaped value means something in a DN");
  }
  const std::string whole =
      expand_template("(&(uid={local})(mail={login}))", {text, {}}, escape_filter_value);
  std::size_t open = 0;
  for (const char c : whole) open += c == '(' ? 1U : 0U;
  require(open == 3, "a login adds no part to a filter");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 2), size - 2);  // NOLINT: octets as char
  check_bind(data[0], data[1], text);
  check_escapes(text);
  require(text.ends_with(strip_smtp_prefix(text)), "an address is a part of what the directory said");
  const auto group = group_of(text);
  if (group) require(!group->empty(), "a group has a name");
  return 0;
}
