// How the descriptors of the process are shared out: what the program itself needs, what connections to
// upstream servers may take, and how many clients that leaves room for. Arithmetic on a configuration;
// `serve` bounds the clients by it, `check` compares it with the limits that were configured.
#pragma once

#include <cstdint>
#include <string>

#include "proxy/config/config.h"

namespace portcullis::config {

struct Descriptors {
  std::uint64_t own = 0;            // loops, listening sockets, admin server, backends, state, journal, spare
  std::uint64_t upstream = 0;       // connections to upstream servers, by connections_max
  std::uint64_t idle_upstream = 0;  // those of them that wait for reuse, by idle_max
};
Descriptors descriptors_of(const Config& config);

// RLIMIT_NOFILE as it is, less the descriptors besides the standard streams that were open at the first call:
// what a parent has left open is not ours to use. And RLIMIT_NOFILE as far as this process may raise it.
std::uint64_t descriptor_limit();
std::uint64_t descriptor_hard_limit();

// How many clients there is room for within `limit`; 0: the limit is too low to start.
std::uint64_t clients_within(const Descriptors& needed, std::uint64_t limit);

// What to tell an admin: one sentence each; empty when there is nothing to say.
std::string descriptor_error(const Config& config, std::uint64_t limit);
std::string descriptor_warning(const Config& config, std::uint64_t limit);

}  // namespace portcullis::config
