#include "proxy/net/proxy_header.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace portcullis::net {

namespace {

using Status = ProxyHeader::Status;

constexpr std::string_view v1_start = "PROXY ";
constexpr std::size_t v1_octets = 107;  // with CRLF, section 2.1
constexpr std::string_view v2_start{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t v2_fixed_octets = 16;
constexpr std::size_t v4_addresses = 12;  // two addresses, two ports
constexpr std::size_t v6_addresses = 36;

ProxyHeader failed(std::uint8_t version) { return {Status::malformed, version, 0, {}}; }
ProxyHeader more(std::uint8_t version) { return {Status::need_more, version, 0, {}}; }

bool may_become(std::string_view bytes, std::string_view start) {
  const std::size_t common = std::min(bytes.size(), start.size());
  return bytes.substr(0, common) == start.substr(0, common);
}

std::string_view take_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool canonical = text.size() == 1 || (!text.empty() && text[0] != '0');
  if (error != std::errc() || end != text.data() + text.size() || !canonical) return std::nullopt;
  return port;
}

ProxyHeader version_1(std::string_view bytes) {
  const std::size_t end = bytes.substr(0, v1_octets).find("\r\n");
  if (end == std::string_view::npos) return bytes.size() < v1_octets ? more(1) : failed(1);
  ProxyHeader header{Status::complete, 1, end + 2, {}};
  std::string_view line = bytes.substr(v1_start.size(), end - v1_start.size());
  const std::string_view family = take_word(line);
  if (family == "UNKNOWN") return header;
  if (family != "TCP4" && family != "TCP6") return failed(1);
  // Exactly four words, single spaces: an empty word is no address and no port.
  if (std::count(line.begin(), line.end(), ' ') != 3) return failed(1);
  // By its spelling: an IPv4 address in IPv6 form is of the family TCP6.
  const auto parse_address = [v6 = family ==
                                   "TCP6"](std::string_view text) -> std::optional<policy::IpAddress> {
    if (text.contains(':') != v6) return std::nullopt;
    return policy::parse_ip(text);
  };
  const auto source = parse_address(take_word(line));
  const auto destination = parse_address(take_word(line));
  const auto source_port = parse_port(take_word(line));
  const auto destination_port = parse_port(line);
  if (!source || !destination || !source_port || !destination_port) return failed(1);
  header.client = {*source, *source_port};
  return header;
}

std::uint8_t octet(std::string_view bytes, std::size_t at) { return static_cast<std::uint8_t>(bytes[at]); }

std::uint16_t number(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(octet(bytes, at) << 8 | octet(bytes, at + 1));
}

policy::IpAddress address(std::string_view octets) {
  policy::IpAddress result;
  constexpr std::string_view mapped{"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12};
  if (octets.size() == 16 && octets.starts_with(mapped)) octets.remove_prefix(mapped.size());
  result.v6 = octets.size() == 16;
  std::transform(octets.begin(), octets.end(), result.octets.begin(),
                 [](char c) { return static_cast<std::uint8_t>(c); });
  return result;
}

// Whether PP2_TYPE_SSL says that the client spoke TLS with the balancer (section 2.2.6 of the specification).
bool names_tls(std::string_view extensions) {
  constexpr std::uint8_t type_ssl = 0x20;
  constexpr unsigned client_ssl = 0x01;
  constexpr std::size_t head = 3;  // type, length
  while (extensions.size() > head) {
    const std::size_t length = number(extensions, 1);
    if (octet(extensions, 0) == type_ssl && length > 0 && (octet(extensions, head) & client_ssl) != 0)
      return true;
    extensions.remove_prefix(std::min(extensions.size(), head + length));
  }
  return false;
}

ProxyHeader version_2(std::string_view bytes) {
  if (bytes.size() < v2_fixed_octets) return more(2);
  const std::size_t rest = number(bytes, 14);
  if (octet(bytes, 12) >> 4 != 2 || v2_fixed_octets + rest > proxy_header_octets) return failed(2);
  const unsigned command = octet(bytes, 12) & 0xfU;
  if (command > 1) return failed(2);
  ProxyHeader header{Status::complete, 2, v2_fixed_octets + rest, {}};
  const unsigned family = octet(bytes, 13);
  const bool local = command == 0 || family == 0;  // whatever addresses it has are to be ignored
  const std::size_t addresses = family == 0x11 ? v4_addresses : v6_addresses;
  // Datagrams and local sockets are no mail clients.
  if (!local && ((family != 0x11 && family != 0x21) || rest < addresses)) return failed(2);
  if (bytes.size() < header.octets) return more(2);
  if (local) return header;
  const std::size_t each = family == 0x11 ? 4 : 16;
  header.client = {address(bytes.substr(v2_fixed_octets, each)), number(bytes, v2_fixed_octets + 2 * each),
                   names_tls(bytes.substr(v2_fixed_octets + addresses, rest - addresses))};
  return header;
}

}  // namespace

ProxyHeader parse_proxy_header(std::string_view bytes) {
  if (bytes.starts_with(v1_start)) return version_1(bytes);
  if (bytes.starts_with(v2_start)) return version_2(bytes);
  return may_become(bytes, v1_start) || may_become(bytes, v2_start) ? more(0) : failed(0);
}

}  // namespace portcullis::net
