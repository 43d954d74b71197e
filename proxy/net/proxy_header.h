// The header with which a load balancer names the client it speaks for: PROXY protocol, versions 1
// and 2 (haproxy.org/download/2.8/doc/proxy-protocol.txt). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "policy/facts.h"

namespace portcullis::net {

// What is read of it at most: the longest v2 header with the extensions a balancer can be expected to
// send. Octets.
inline constexpr std::size_t proxy_header_octets = 4096;

struct ProxyHeader {
  enum class Status : std::uint8_t { need_more, complete, malformed };
  struct Client {
    policy::IpAddress address;
    std::uint16_t port = 0;
    // Spoke TLS with the balancer, which is then the peer of a handshake that follows.
    bool tls_ends_at_balancer = false;
  };
  Status status = Status::need_more;
  std::uint8_t version = 0;  // 1 or 2, 0 while it can not be told
  std::size_t octets = 0;    // of the header, when complete: what follows is the client's
  std::optional<Client>
      client;  // none: the balancer speaks for itself (LOCAL, UNKNOWN), as in its health checks
};

// `bytes`: all that was received so far, from the first octet on.
ProxyHeader parse_proxy_header(std::string_view bytes);

}  // namespace portcullis::net
