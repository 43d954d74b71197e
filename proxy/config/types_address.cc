// Hosts, sockets, networks, domains, logins and patterns of them. Canonical forms come from policy/,
// so that what the admin wrote and what a client says are compared as equals.
#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "policy/identity.h"
#include "policy/ip.h"
#include "proxy/config/types.h"
#include "smtp/path.h"

namespace portcullis::config {

namespace {

using Parsed = std::expected<std::string, std::string>;

std::string quoted(const std::string& text) { return '"' + text + '"'; }

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return port;
}

struct HostPort {
  std::string host;
  std::optional<std::uint16_t> port;
};

// "host", "host:port", "[v6]:port", "[v6]", bare "v6".
std::optional<HostPort> split_host_port(const std::string& text) {
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string::npos) return std::nullopt;
    HostPort parts{text.substr(1, close - 1), std::nullopt};
    if (!policy::parse_ip(parts.host)) return std::nullopt;
    if (close + 1 == text.size()) return parts;
    if (text[close + 1] != ':') return std::nullopt;
    parts.port = parse_port(std::string_view(text).substr(close + 2));
    return parts.port ? std::optional(parts) : std::nullopt;
  }
  const auto colon = text.find(':');
  if (colon == std::string::npos) return HostPort{text, std::nullopt};
  if (text.find(':', colon + 1) != std::string::npos) return HostPort{text, std::nullopt};  // bare IPv6
  HostPort parts{text.substr(0, colon), parse_port(std::string_view(text).substr(colon + 1))};
  return parts.port ? std::optional(parts) : std::nullopt;
}

bool is_host(const std::string& text) {
  return policy::parse_ip(text).has_value() ||
         (!text.starts_with('[') && policy::canonical_domain(text).has_value());
}

std::string show_host_port(const std::string& host, std::uint16_t port) {
  return host.find(':') == std::string::npos ? fmt::format("\"{}:{}\"", host, port)
                                             : fmt::format("\"[{}]:{}\"", host, port);
}

Parsed canonical_pattern_of_domain(const std::string& text) {
  auto canonical = text.starts_with('[') ? std::nullopt : policy::canonical_domain_pattern(text);
  if (!canonical) return std::unexpected("\"" + text + "\" is not a domain or \"*.domain\"");
  return *std::move(canonical);
}

Parsed canonical_pattern_of_address(const std::string& text) {
  const std::string wrong = "\"" + text + "\" is not an address, \"*@domain\" or \"*@*.domain\"";
  if (text.starts_with("*@") || text.starts_with('@')) {
    const auto domain = canonical_pattern_of_domain(text.substr(text.find('@') + 1));
    if (!domain) return std::unexpected(wrong);
    return "*@" + *domain;
  }
  const auto mailbox = smtp::parse_mailbox(text, true);
  if (!mailbox || mailbox->local.find('*') != std::string::npos) return std::unexpected(wrong);
  const auto canonical = policy::canonical_address(*mailbox, '\0');
  if (!canonical) return std::unexpected(wrong);
  return *canonical;
}

Parsed canonical_pattern_of_login(const std::string& text) {
  if (text.find('*') != std::string::npos) return canonical_pattern_of_address(text);
  auto canonical = policy::canonical_login(text);
  if (!canonical) return std::unexpected("\"" + text + "\" is not a login or \"*@domain\"");
  return *std::move(canonical);
}

Parsed canonical_group(const std::string& text) {
  auto canonical = policy::canonical_login(text);
  if (!canonical) return std::unexpected("\"" + text + "\" can not be the name of a group");
  return *std::move(canonical);
}

}  // namespace

Type<std::string> host() {
  auto parse = [](const std::string& text) -> Parsed {
    if (!is_host(text)) return std::unexpected("\"" + text + "\" is not a host name or address");
    return text;
  };
  return text_type<std::string>("host", "a host name or address", parse, quoted);
}

Type<std::string> domain() {
  auto parse = [](const std::string& text) -> Parsed {
    auto canonical = text.starts_with('[') ? std::nullopt : policy::canonical_domain(text);
    if (!canonical) return std::unexpected("\"" + text + "\" is not a domain");
    return *std::move(canonical);
  };
  return text_type<std::string>("domain", "a domain", parse, quoted);
}

Type<std::string> domain_pattern() {
  return text_type<std::string>("domain pattern", "a domain or \"*.domain\"", canonical_pattern_of_domain,
                                quoted);
}

Type<std::string> address_pattern() {
  return text_type<std::string>("address pattern", "an address, \"*@domain\" or \"*@*.domain\"",
                                canonical_pattern_of_address, quoted);
}

Type<std::string> login_pattern() {
  return text_type<std::string>("login pattern", "a login or \"*@domain\"", canonical_pattern_of_login,
                                quoted);
}

Type<std::string> group() {
  return text_type<std::string>("group", "the name of a group", canonical_group, quoted);
}

Type<std::string> grantee() {
  auto parse = [](const std::string& text) -> Parsed {
    constexpr std::string_view prefix = "group:";
    if (!text.starts_with(prefix)) return canonical_pattern_of_login(text);
    const auto name = canonical_group(text.substr(prefix.size()));
    return name ? Parsed(std::string(prefix) + *name) : name;
  };
  return text_type<std::string>("login pattern or group", "a login, \"*@domain\" or \"group:name\"", parse,
                                quoted);
}

Type<Socket> socket_address() {
  auto parse = [](const std::string& text) -> std::expected<Socket, std::string> {
    const auto parts = split_host_port(text);
    const auto address = parts && parts->port ? policy::parse_ip(parts->host) : std::nullopt;
    if (!address) {
      return std::unexpected("\"" + text +
                             "\" is not an address with a port such as \"0.0.0.0:587\" or \"[::]:587\"");
    }
    return Socket{*address, *parts->port};
  };
  return text_type<Socket>(
      "socket address", "an address with a port such as \"0.0.0.0:587\"", parse,
      [](const Socket& s) { return show_host_port(policy::to_string(s.address), s.port); });
}

Type<Server> server_address() {
  auto parse = [](const std::string& text) -> std::expected<Server, std::string> {
    const auto parts = split_host_port(text);
    if (!parts || !is_host(parts->host) || parts->port == std::uint16_t{0}) {
      return std::unexpected("\"" + text +
                             "\" is not a server such as \"10.0.0.5:25\" or \"mail.example.com\"");
    }
    return Server{parts->host, parts->port.value_or(0)};
  };
  return text_type<Server>("server", "a server such as \"10.0.0.5:25\"", parse,
                           [](const Server& s) { return show_host_port(s.host, s.port); });
}

Type<policy::IpNetwork> ip_network() {
  auto parse = [](const std::string& text) -> std::expected<policy::IpNetwork, std::string> {
    const auto network = policy::parse_network(text);
    if (!network) {
      return std::unexpected(
          "\"" + text + "\" is not a network such as \"192.0.2.0/24\" (no bits set right of the prefix)");
    }
    return *network;
  };
  return text_type<policy::IpNetwork>(
      "network", "a network such as \"192.0.2.0/24\"", parse,
      [](const policy::IpNetwork& n) { return quoted(policy::to_string(n)); });
}

}  // namespace portcullis::config
