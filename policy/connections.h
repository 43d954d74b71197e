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
  // `networks_max` bounds the networks remembered without an open connection.
  explicit ConnectionCounter(std::size_t networks_max = 100000);
  ~ConnectionCounter();
  // Counts a new connection. In `enforce` mode an answer other than accept counts nothing. In
  // `shadow` and `off` the connection is counted whatever the answer, and the caller goes on with it
  // (`off` always answers accept). Whoever goes on owes one close() with the same rule.
  // Networks exempt from limits are the caller's business: it does not ask.
  ConnectionAnswer open(const ConnectionRule& rule, const IpAddress& client, WallTime now);
  void close(const ConnectionRule& rule, const IpAddress& client);
  std::size_t networks() const;  // tracked now; bounded, idle ones are forgotten

 private:
  struct Shard;
  Shard& shard_of(std::uint64_t hash) const;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace portcullis::policy
