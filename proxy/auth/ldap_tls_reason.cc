#include "proxy/auth/ldap_tls_reason.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "proxy/auth/imap_backend.h"
#include "proxy/auth/socket_stream.h"
#include "proxy/auth/tls_client.h"

namespace portcullis::auth {

namespace {

constexpr std::uint16_t ldap_port = 389;
constexpr std::uint16_t ldaps_port = 636;
// ExtendedRequest 1.3.6.1.4.1.1466.20037, message 1 (RFC 4511 4.14.1), and what a success begins with.
constexpr std::string_view starttls_request =
    "\x30\x1d\x02\x01\x01\x77\x18\x80\x16"
    "1.3.6.1.4.1.1466.20037";
constexpr std::size_t response_octets = 512;
constexpr std::string_view success = "\x0a\x01";  // resultCode, one octet

bool agrees(SocketStream& stream, Deadline deadline) {
  if (!stream.write(starttls_request, deadline)) return false;
  std::string response;
  if (!stream.read(response, response_octets, deadline)) return false;
  const std::size_t code = response.find(success);
  return code != std::string::npos && code + 2 < response.size() && response[code + 2] == 0;
}

}  // namespace

std::string ldap_tls_reason(const LdapBackend& settings, const std::string& url, Deadline deadline) {
  const bool implicit = url.starts_with("ldaps://");
  const std::size_t begin = url.find("//");
  if (begin == std::string::npos) return {};
  std::string authority = url.substr(begin + 2);
  authority.resize(std::min(authority.find('/'), authority.size()));
  const auto server = parse_host_port(authority, implicit ? ldaps_port : ldap_port);
  if (!server) return {};
  const auto client = TlsClient::create(settings.ca_file, settings.verify_certificate);
  if (!client) return client.error();
  auto stream = SocketStream::connect(server->host, server->port, deadline);
  if (!stream) return {};
  if (!implicit && !agrees(*stream, deadline)) return {};
  const auto done = stream->start_tls(*client, server->host, deadline);
  return done ? std::string() : done.error();
}

}  // namespace portcullis::auth
