// Listening sockets: made before privileges are dropped, one per worker and address (SO_REUSEPORT), or
// taken over from systemd.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/net/worker.h"

namespace portcullis::net {

// The key under which a socket is known over reloads.
std::string socket_key(const config::Socket& socket);

// For each worker its sockets, in the order of the configuration. `known` are keys that are listened on
// already and are left out. The error names listener and address.
std::expected<std::vector<std::vector<BoundSocket>>, std::string> bind_sockets(
    const config::Config& config, std::size_t workers, const std::vector<std::string>& known);

// Keys of all sockets of a configuration with the listener each belongs to.
std::vector<std::pair<std::string, std::size_t>> socket_keys(const config::Config& config);

void close_sockets(const std::vector<std::vector<BoundSocket>>& sockets);

}  // namespace portcullis::net
