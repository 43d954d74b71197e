// What the configuration wants of an upstream server and the server does not offer, though mail goes without
// it. What mail cannot go without is a failure of the connection (session/upstream_link.h), and so of the
// probe.
#pragma once

#include <string>

#include "proxy/config/config.h"
#include "proxy/net/upstream_connection.h"
#include "smtp/extensions.h"

namespace portcullis::net {

// A sentence for each of them, with "; warning: " in front; empty if nothing is missing.
std::string missed_demands(const config::Upstream& settings, const smtp::Extensions& extensions);

// What a probe reports of a connection that is open: "ready, TLS", and what is missed.
std::string ready_text(const UpstreamConnection& connection);

}  // namespace portcullis::net
