#include "proxy/auth/ldap_text.h"

#include <ldap.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace portcullis::auth {

namespace {

void append_hex(std::string& out, char c) {
  static constexpr char digits[] = "0123456789abcdef";
  const auto octet = static_cast<unsigned char>(c);
  out += '\\';
  out += digits[octet >> 4U];
  out += digits[octet & 0xfU];
}

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

std::string escape_filter_value(std::string_view value) {
  static constexpr std::string_view special = "\\*()&|!=<>~/";
  std::string out;
  for (const char c : value) {
    if (c < ' ' || c > '~' || special.find(c) != std::string_view::npos) {  // above 127 is negative
      append_hex(out, c);
    } else {
      out += c;
    }
  }
  return out;
}

std::string escape_dn_value(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (is_letter_or_digit(c) || c == '-' || c == '.' || c == '_' || c == '@') {
      out += c;
    } else {
      append_hex(out, c);
    }
  }
  return out;
}

std::string expand_template(std::string_view text, const TemplateValues& values,
                            std::string (*escape)(std::string_view)) {
  const std::size_t at = values.login.rfind('@');
  const bool has_domain = at != std::string_view::npos;
  const std::pair<std::string_view, std::string_view> placeholders[] = {
      {"{login}", values.login},
      {"{local}", values.login.substr(0, at)},
      {"{domain}", has_domain ? values.login.substr(at + 1) : std::string_view()},
      {"{dn}", values.dn},
  };
  std::string out;
  while (!text.empty()) {
    const auto* const found = std::ranges::find_if(
        placeholders, [text](const auto& placeholder) { return text.starts_with(placeholder.first); });
    if (found != std::end(placeholders)) {
      out += escape(found->second);
      text.remove_prefix(found->first.size());
    } else {
      out += text.front();
      text.remove_prefix(1);
    }
  }
  return out;
}

std::string lower_dn(std::string_view dn) {
  std::string out(dn);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view strip_smtp_prefix(std::string_view value) {
  static constexpr std::string_view prefix = "smtp:";
  if (value.size() < prefix.size()) return value;
  const bool is_prefix = std::equal(prefix.begin(), prefix.end(), value.begin(), [](char a, char b) {
    return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
  });
  return is_prefix ? value.substr(prefix.size()) : value;
}

std::optional<std::string> group_of(const std::string& value) {
  if (value.empty()) return std::nullopt;
  if (value.find('=') == std::string::npos) return value;
  LDAPDN parsed = nullptr;
  if (ldap_str2dn(value.c_str(), &parsed, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS || parsed == nullptr) {
    return std::nullopt;
  }
  const std::unique_ptr<LDAPRDN, void (*)(LDAPDN)> dn(parsed, ldap_dnfree);
  if (dn.get()[0] == nullptr || dn.get()[0][0] == nullptr) return std::nullopt;
  const berval& name = dn.get()[0][0]->la_value;
  if (name.bv_len == 0) return std::nullopt;
  return std::string(name.bv_val, name.bv_len);
}

}  // namespace portcullis::auth
