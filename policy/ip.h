// IP addresses and networks as values; IPv4-mapped IPv6 addresses are IPv4 from the start, so that
// one client can not be two.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace portcullis::policy {

struct IpAddress {
  std::array<std::uint8_t, 16> octets{};  // IPv4 in the first four
  bool v6 = false;
  auto operator<=>(const IpAddress&) const = default;
};

// "192.0.2.1", "2001:db8::1"; a zone ("%eth0") or brackets are errors.
std::optional<IpAddress> parse_ip(std::string_view text);
std::string to_string(const IpAddress& address);
// The same without an allocation; the view points into `out`.
inline constexpr std::size_t ip_text_octets = 46;
std::string_view format_ip(const IpAddress& address, std::span<char, ip_text_octets> out);
// As RFC 5321 address literal content: "192.0.2.1" or "IPv6:2001:db8::1".
std::string to_literal(const IpAddress& address);

struct IpNetwork {
  IpAddress base;
  std::uint8_t prefix_bits = 0;
  bool contains(const IpAddress& address) const;
  auto operator<=>(const IpNetwork&) const = default;
};

// "192.0.2.0/24"; a single address is a network of one. Host bits set are an error.
std::optional<IpNetwork> parse_network(std::string_view text);
std::string to_string(const IpNetwork& network);
// The network an address counts in: /32 (v4_bits) and /64 (v6_bits) unless told otherwise.
IpNetwork network_of(const IpAddress& address, std::uint8_t v4_bits, std::uint8_t v6_bits);

}  // namespace portcullis::policy
