// What a session may use besides its events: one immutable configuration snapshot and the worker's own
// counters and journal. All outlive the session.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/journal.h"
#include "metrics/shard.h"
#include "policy/chain.h"
#include "proxy/config/config.h"
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
  const policy::Chain& chain;
  metrics::Journal& journal;
  metrics::Shard& shard;
  // Labels in the metrics, by policy::Hit::rule.
  struct RuleLabels {
    std::uint16_t rule = 0;
    bool is_rate = false;
    std::uint16_t limit = 0;  // of a rate rule
    policy::RateUnit unit = policy::RateUnit::messages;
  };
  const std::vector<RuleLabels>& rule_labels;
  // Scratch space of the worker: events do not nest.
  smtp::Slices& content;
  smtp::Slices& staged;
  smtp::Slices& framed;
  // A clock that only goes forward, to time evaluations with; none: they are not timed.
  std::int64_t (*nanoseconds)() = nullptr;
  // None: never any.
  const std::atomic<MemoryPressure>* memory_pressure = nullptr;
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
