#include "policy/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace portcullis::policy {
namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct Parsed {
  IpAddress address;
  bool mapped = false;  // was written as ::ffff:a.b.c.d
};

std::optional<Parsed> parse(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  if (text.empty() || text.size() >= terminated.size() || text.find('\0') != text.npos) return std::nullopt;
  std::ranges::copy(text, terminated.begin());
  Parsed parsed;
  if (inet_pton(AF_INET, terminated.data(), parsed.address.octets.data()) == 1) return parsed;
  std::array<std::uint8_t, 16> octets{};
  if (inet_pton(AF_INET6, terminated.data(), octets.data()) != 1) return std::nullopt;
  if (std::equal(mapped_prefix.begin(), mapped_prefix.end(), octets.begin())) {
    std::copy(octets.begin() + 12, octets.end(), parsed.address.octets.begin());
    parsed.mapped = true;
    return parsed;
  }
  parsed.address.octets = octets;
  parsed.address.v6 = true;
  return parsed;
}

// `octets` with everything after the first `bits` cleared.
std::array<std::uint8_t, 16> masked(std::array<std::uint8_t, 16> octets, unsigned bits) {
  for (unsigned i = 0; i < octets.size(); ++i) {
    const unsigned kept = bits > i * 8 ? std::min(bits - i * 8, 8U) : 0;
    octets[i] = static_cast<std::uint8_t>(octets[i] & (0xff00U >> kept));
  }
  return octets;
}

}  // namespace

std::optional<IpAddress> parse_ip(std::string_view text) {
  const auto parsed = parse(text);
  if (!parsed) return std::nullopt;
  return parsed->address;
}

std::string_view format_ip(const IpAddress& address, std::span<char, ip_text_octets> out) {
  if (!address.v6) {
    // Several times a message, hence by hand: inet_ntop goes through printf.
    std::size_t size = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const unsigned octet = address.octets[i];
      if (i > 0) out[size++] = '.';
      if (octet >= 100) out[size++] = static_cast<char>('0' + octet / 100);
      if (octet >= 10) out[size++] = static_cast<char>('0' + octet / 10 % 10);
      out[size++] = static_cast<char>('0' + octet % 10);
    }
    return {out.data(), size};
  }
  if (inet_ntop(AF_INET6, address.octets.data(), out.data(), static_cast<socklen_t>(out.size())) == nullptr) {
    return {};
  }
  return {out.data(), std::strlen(out.data())};
}

std::string to_string(const IpAddress& address) {
  std::array<char, ip_text_octets> text{};
  return std::string(format_ip(address, text));
}

std::string to_literal(const IpAddress& address) {
  return address.v6 ? "IPv6:" + to_string(address) : to_string(address);
}

bool IpNetwork::contains(const IpAddress& address) const {
  return address.v6 == base.v6 && masked(address.octets, prefix_bits) == base.octets;
}

std::optional<IpNetwork> parse_network(std::string_view text) {
  const auto slash = text.find('/');
  const auto parsed = parse(text.substr(0, slash));
  if (!parsed) return std::nullopt;
  const unsigned all_bits = parsed->address.v6 ? 128 : 32;
  unsigned bits = all_bits;
  if (slash != text.npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    if (parsed->mapped) {  // "::ffff:192.0.2.0/120" is 192.0.2.0/24
      if (bits < 96) return std::nullopt;
      bits -= 96;
    }
    if (bits > all_bits) return std::nullopt;
  }
  if (masked(parsed->address.octets, bits) != parsed->address.octets) return std::nullopt;
  return IpNetwork{parsed->address, static_cast<std::uint8_t>(bits)};
}

std::string to_string(const IpNetwork& network) {
  return to_string(network.base) + '/' + std::to_string(network.prefix_bits);
}

IpNetwork network_of(const IpAddress& address, std::uint8_t v4_bits, std::uint8_t v6_bits) {
  const std::uint8_t bits =
      address.v6 ? std::min<std::uint8_t>(v6_bits, 128) : std::min<std::uint8_t>(v4_bits, 32);
  return {IpAddress{masked(address.octets, bits), address.v6}, bits};
}

}  // namespace portcullis::policy
