// What one event makes the driver do, carried out after the event returned, in this order: hand the
// bytes to the upstream, leave the upstream connection, get a new one, hand the bytes to the client,
// start TLS or close. The session never calls the driver, so there is no re-entrancy.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proxy/auth/service.h"
#include "proxy/session/output.h"

namespace portcullis::session {

// The time of an event, from the driver: the session has no clock.
struct Now {
  std::int64_t mono_ms = 0;  // monotonic, for deadlines and durations
  std::chrono::system_clock::time_point wall;
};

enum class Leave : std::uint8_t {
  no,
  cancel,   // the acquire still under way is no longer wanted
  release,  // give the connection back: usable again as soon as every outstanding reply has come in
  abort,    // close it at once: it may be inside a message
};

struct Effects {
  Output client;
  Output upstream;
  Leave leave_upstream = Leave::no;
  bool acquire_upstream = false;  // answered by upstream_ready() or upstream_lost()
  // No reply was owed before this event: whatever the upstream has said by the time `upstream` leaves answers
  // nothing, and must never answer what is in it (law 1). Look before sending.
  bool check_upstream_silent = false;
  bool start_tls = false;                     // after `client` was handed over
  bool close_client = false;                  // after `client` was flushed
  std::vector<std::string> kept_input;        // what views in `upstream` point into besides the event's input
  std::optional<auth::Request> authenticate;  // answered by auth_done()
  std::optional<std::uint32_t> wake_after_ms;  // answered by wake()

  void clear() {
    client.clear();
    upstream.clear();
    leave_upstream = Leave::no;
    acquire_upstream = check_upstream_silent = start_tls = close_client = false;
    kept_input.clear();
    authenticate.reset();
    wake_after_ms.reset();
  }
};

}  // namespace portcullis::session
