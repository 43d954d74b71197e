// Where each login has logged in before: there, failures of others do not lock it out. Thread-safe,
// bounded (logins, and networks of one login), with the same persistence hooks as MemoryCounters.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "policy/facts.h"
#include "policy/ip.h"

namespace portcullis::policy {

class KnownNetworks {
 public:
  // Only logins that succeeded are in here, so accounts bound it; the least recently used is
  // forgotten beyond `logins_max`, the oldest network beyond `networks_per_login`.
  static constexpr std::size_t networks_per_login = 32;
  KnownNetworks(std::uint32_t remember_days, std::size_t logins_max);
  ~KnownNetworks();

  void remember_days(std::uint32_t days);
  // A network noted for a day that has not come, by a clock that was wrong, is not known and is forgotten.
  bool contains(std::string_view login, const IpNetwork& network, WallTime now) const;
  void add(std::string_view login, const IpNetwork& network, WallTime now);
  std::size_t logins() const;

  // One login with all its networks, and the day each was last seen (days since the epoch).
  struct Seen {
    IpNetwork network;
    std::int32_t day = 0;
  };
  struct Record {
    std::string login;
    std::vector<Seen> networks;
  };
  void restore(const Record& record, WallTime now);
  // Logins whose networks changed since the last call; a network seen again the same day is no change.
  std::vector<Record> take_changed();
  void mark_changed(const Record& record);

 private:
  struct Shard;
  Shard& shard_of(std::uint64_t hash) const;
  std::atomic<std::int32_t> remember_days_;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace portcullis::policy
