// Concurrency and rate of connections per client network (4.5, and the first line of defence).
// Shared by all workers, sharded by network.
#pragma once

#include <cstdint>
#include <memory>

#include "policy/facts.h"
#include "policy/settings.h"

namespace portcullis::policy {

enum class ConnectionAnswer : std::uint8_t { accept, too_many, too_fast };

class ConnectionCounter {
 public:
  ConnectionCounter();
  ~ConnectionCounter();
  // Counts a new connection; when the answer is accept the caller owes one close().
  ConnectionAnswer open(const ConnectionRule& rule, const IpAddress& client, WallTime now);
  void close(const ConnectionRule& rule, const IpAddress& client);
  std::size_t networks() const;  // tracked now; bounded, idle ones are forgotten

 private:
  struct Shards;
  std::unique_ptr<Shards> shards_;
};

}  // namespace portcullis::policy
