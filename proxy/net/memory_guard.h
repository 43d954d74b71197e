// Whether the process takes more memory than it may: told to every worker, so that load is shed in good
// time instead of by the kernel, which would take all sessions at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "proxy/session/environment.h"

namespace portcullis::net {

// The smallest memory.max (in octets) of a control group (version 2) and those above it: `groups` is what
// /proc/self/cgroup says, `root` where their files are. 0: none.
std::uint64_t control_group_limit(std::string_view groups, const char* root);

// The octets of physical memory the process has now; 0 when the kernel does not say.
std::uint64_t resident_octets();

class MemoryGuard {
 public:
  // The level at `octets` resident where `limit` are allowed (0: any number). A level is left only at a
  // sixteenth below its bound, so that it does not flap.
  static session::MemoryPressure level(std::uint64_t octets, std::uint64_t limit,
                                       session::MemoryPressure before);

  // Measures against `limit`; 0: seven eighths of the control group's. Returns the level.
  session::MemoryPressure look(std::uint64_t limit);
  const std::atomic<session::MemoryPressure>& pressure() const { return pressure_; }

 private:
  std::uint64_t group_limit_ = 0;
  unsigned group_looks_ = 0;  // until it is read again
  std::atomic<session::MemoryPressure> pressure_ = session::MemoryPressure::none;
};

}  // namespace portcullis::net
