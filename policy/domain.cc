// Domains of identity.h: the one door to libidn2.
#include <idn2.h>

#include <algorithm>
#include <array>
#include <memory>

#include "policy/identity.h"
#include "policy/ip.h"
#include "smtp/ascii.h"
#include "smtp/limits.h"

namespace portcullis::policy {
namespace {

using smtp::limits::domain_octets;
constexpr std::size_t label_octets = 63;  // RFC 1035 2.3.4

// Octets of a label in lower case; 0 for those that are none.
constexpr auto label_octet = [] {
  std::array<char, 256> table{};
  // '_' is no host name character but occurs in real sender domains.
  for (const char c : std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")) {
    table[static_cast<unsigned char>(c)] = smtp::to_lower(c);
  }
  return table;
}();

// Lower-cases an ASCII domain into `out`; 0 when a label is empty, too long or has a foreign octet.
std::size_t write_ascii(std::string_view domain, std::span<char> out) {
  if (domain.empty() || domain.size() > domain_octets || domain.size() > out.size()) return 0;
  for (std::size_t at = 0;; ++at) {
    const std::size_t label = at;
    for (; at < domain.size(); ++at) {
      const char octet = label_octet[static_cast<unsigned char>(domain[at])];
      if (octet == 0) break;
      out[at] = octet;
    }
    if (at == label || at - label > label_octets) return 0;
    if (at == domain.size()) return at;
    if (domain[at] != '.') return 0;
    out[at] = '.';
  }
}

bool needs_idna(std::string_view domain) {
  for (std::size_t i = 0; i < domain.size(); ++i) {
    if (static_cast<unsigned char>(domain[i]) >= 0x80) return true;
    if (smtp::to_lower(domain[i]) == 'x' && domain.size() - i >= 4 && smtp::to_lower(domain[i + 1]) == 'n' &&
        domain[i + 2] == '-' && domain[i + 3] == '-' && (i == 0 || domain[i - 1] == '.')) {
      return true;
    }
  }
  return false;
}

std::size_t write_idna(std::string_view domain, std::span<char> out) {
  if (domain.size() > 4 * domain_octets || domain.find('\0') != domain.npos) return 0;
  const std::string terminated(domain);
  std::uint8_t* result = nullptr;
  // Non-transitional UTS 46 mapping (case, width, ideographic dots), then IDNA2008; A-labels given
  // are decoded and must encode back to themselves.
  const int code = idn2_lookup_u8(reinterpret_cast<const std::uint8_t*>(terminated.c_str()), &result,
                                  IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  if (code != IDN2_OK) return 0;
  const std::unique_ptr<std::uint8_t, decltype(&idn2_free)> owned(result, &idn2_free);
  std::string_view ascii(reinterpret_cast<const char*>(result));
  if (ascii.ends_with('.')) ascii.remove_suffix(1);  // an ideographic full stop at the end
  return write_ascii(ascii, out);
}

// "[192.0.2.1]", "[IPv6:2001:db8::1]": by value, so that one address has one spelling.
std::size_t write_literal(std::string_view literal, std::span<char> out) {
  if (literal.size() < 3 || literal.back() != ']') return 0;
  std::string_view content = literal.substr(1, literal.size() - 2);
  constexpr std::string_view tag = "ipv6:";
  const bool tagged =
      content.size() > tag.size() && std::equal(tag.begin(), tag.end(), content.begin(),
                                                [](char a, char b) { return a == smtp::to_lower(b); });
  if (tagged) content.remove_prefix(tag.size());
  const auto address = parse_ip(content);
  if (!address || tagged != (content.find(':') != content.npos)) return 0;
  const std::string text = '[' + to_literal(*address) + ']';
  if (text.size() > out.size()) return 0;
  std::ranges::transform(text, out.begin(), smtp::to_lower);
  return text.size();
}

}  // namespace

std::size_t write_canonical_domain(std::string_view domain, std::span<char> out) {
  if (domain.starts_with('[')) return write_literal(domain, out);
  if (domain.ends_with('.')) domain.remove_suffix(1);
  // Most are plain ASCII, without a label that begins with "xn--".
  const std::size_t size = write_ascii(domain, out);
  const bool plain = size != 0 && domain.find("--") == domain.npos;
  return !plain && needs_idna(domain) ? write_idna(domain, out) : size;
}

std::optional<std::string> canonical_domain(std::string_view domain) {
  std::array<char, domain_octets> buffer{};
  const std::size_t size = write_canonical_domain(domain, buffer);
  if (size == 0) return std::nullopt;
  return std::string(buffer.data(), size);
}

std::optional<std::string> canonical_domain_pattern(std::string_view pattern) {
  const std::size_t wildcard = pattern.starts_with("*.") ? 2 : pattern.starts_with('.') ? 1 : 0;
  auto domain = canonical_domain(pattern.substr(wildcard));
  if (domain && wildcard != 0) domain->insert(0, "*.");
  return domain;
}

bool domain_matches(std::string_view pattern, std::string_view domain) {
  if (pattern.starts_with("*.")) pattern.remove_prefix(1);
  if (!pattern.starts_with('.')) return pattern == domain;
  return domain.size() > pattern.size() && domain.ends_with(pattern);
}

}  // namespace portcullis::policy
