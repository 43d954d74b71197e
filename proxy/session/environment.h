// What a session may use besides its events: one immutable configuration snapshot and the worker's own
// counters and journal. All outlive the session.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/journal.h"
#include "metrics/shard.h"
#include "proxy/config/config.h"
#include "proxy/session/policies.h"
#include "smtp/body.h"
#include "smtp/extensions.h"

namespace portcullis::session {

// How far the process is beyond the memory it may take: who may still begin something.
enum class MemoryPressure : std::uint8_t {
  none,
  high,      // no new sessions, no new transactions without a login
  critical,  // no new transactions at all
};

struct Environment {
  const config::Config& config;
  std::shared_ptr<const Policies> policies;
  metrics::Journal& journal;
  metrics::Shard& shard;
  // Scratch space of the worker: events do not nest.
  smtp::Slices& content;
  smtp::Slices& staged;
  smtp::Slices& framed;
  // A clock that only goes forward, to time evaluations with; none: they are not timed.
  std::int64_t (*nanoseconds)() = nullptr;
  // None: never any.
  const std::atomic<MemoryPressure>* memory_pressure = nullptr;
  // What is in force now, exchanged by a reload. Null: `policies`, always.
  const std::shared_ptr<const Policies>* in_force = nullptr;
};

// The listener a client came in by.
struct ListenerFacts {
  const config::Listener& settings;
  const config::Upstream& upstream;
  std::uint16_t index = 0;           // into Config::listeners
  std::uint16_t label = 0;           // in the metrics
  std::uint16_t upstream_index = 0;  // into Config::upstreams
  bool starttls_available = false;   // a certificate is there
  std::uint8_t mechanisms = 0;       // smtp::MechanismBit that the backends and the admin allow
};

// What the TLS handshake told.
struct TlsFacts {
  std::string version;  // "TLSv1.3"
  std::string cipher;
  std::string client_subject;     // of a verified client certificate
  std::string certificate_login;  // login that certificate stands for, empty: none
};

// What the upstream of the listener could do when it was last asked.
struct UpstreamOffer {
  bool known = false;
  smtp::Extensions extensions;
};

}  // namespace portcullis::session
