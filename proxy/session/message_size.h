// The upstream's limit on the size of a message (RFC 1870) and what the gateway makes of it. The gateway adds
// a Received field, so the limit on the client's message is smaller than the upstream's.
#pragma once

#include <cstdint>

#include "smtp/extensions.h"

namespace portcullis::session {

// The limit that the server announced, in octets; 0 if it has no fixed limit (RFC 1870 section 4).
inline std::uint64_t size_limit(const smtp::Extensions& upstream) { return upstream.size.value_or(0); }

// The limit to announce to clients: never 0, which would mean that there is none. `ours` is the listener's.
std::uint64_t announced_size(std::uint64_t ours, const smtp::Extensions& upstream);

// The value of SIZE= for the upstream, for a message that the client declared as `declared` octets. It
// includes what the gateway adds, unless the server would refuse the message for that allowance alone.
std::uint64_t forwarded_size(std::uint64_t declared, const smtp::Extensions& upstream);

}  // namespace portcullis::session
