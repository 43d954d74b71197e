// Listening sockets: made before privileges are dropped, one per worker and address (SO_REUSEPORT), or
// taken over from systemd.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/net/worker.h"

namespace portcullis::net {

// A bound TCP socket, non-blocking and closed on exec; below 0: errno has why not. `share`: SO_REUSEPORT.
int bound(const config::Socket& socket, bool share);

// The key under which a socket is known over reloads.
std::string socket_key(const config::Socket& socket);

// For each worker its sockets, listening, in the order of the configuration. `before` is the configuration
// whose sockets are listened on already, if any: those that stay are left out. An address that another
// process listens on is an error, be it another gateway with SO_REUSEPORT. The error names listener and
// address.
std::expected<std::vector<std::vector<BoundSocket>>, std::string> bind_sockets(const config::Config& config,
                                                                               std::size_t workers,
                                                                               const config::Config* before);

// Keys of all sockets of a configuration with the listener each belongs to.
std::vector<std::pair<std::string, std::size_t>> socket_keys(const config::Config& config);

void close_sockets(const std::vector<std::vector<BoundSocket>>& sockets);

}  // namespace portcullis::net
