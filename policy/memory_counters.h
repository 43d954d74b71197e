// CounterStore in memory: what decides, always. Sharded by key, each shard a mutex and one bounded
// table per limit; no charge waits for a disk. A full table forgets its least recently used key, but
// first any whose period has passed; only the former counts as an eviction.
//
// Persistence is somebody else's thread (proxy/state): restore() at start, then take_changed() every
// second or so, and mark_changed() for what could not be written.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "policy/counters.h"
#include "policy/rate.h"

namespace portcullis::policy {

class MemoryCounters final : public CounterStore {
 public:
  // `keys_max` bounds the keys of each limit (exactly below 2048, within rounding to shards above).
  explicit MemoryCounters(std::size_t keys_max);
  ~MemoryCounters() override;
  // Another bound from now on. Where it is lower, each new key makes two old ones leave until it holds.
  void set_keys_max(std::size_t keys_max);
  MemoryCounters(const MemoryCounters&) = delete;
  MemoryCounters& operator=(const MemoryCounters&) = delete;

  std::expected<Outcome, StoreError> charge(const Charge& charge, WallTime now, bool always) override;
  void refund(const Charge& charge, WallTime charged, WallTime now) override;
  std::expected<Outcome, StoreError> peek(const Charge& charge, WallTime now) const override;

  // For metrics: keys in memory, and live ones forgotten for want of room, since start.
  struct LimitStatus {
    std::size_t keys = 0;
    std::uint64_t evictions = 0;
  };
  LimitStatus status(std::string_view limit) const;
  // Of every limit.
  std::size_t keys() const;
  bool remembers(std::string_view limit, std::uint32_t period_seconds, std::string_view key) const;
  // Housekeeping, now and then: keys whose period has passed, of every limit. (Each charge forgets a
  // few of its own limit; a limit that nobody charges any more needs this.)
  void forget_expired(WallTime now);

  struct Record {
    std::string limit;
    std::string key;
    std::uint32_t period_seconds = 0;
    RateWindow::Saved window;
  };
  // At start, before the first charge, least recently used first. Expired records are ignored. A
  // limit counts per period: what was counted under another one does not count.
  void restore(const Record& record, WallTime now);
  // Records charged or refunded since the last call; each is then clean.
  std::vector<Record> take_changed();
  void mark_changed(const Record& record);

 private:
  struct Shard;
  Shard& shard_of(std::uint64_t hash) const;
  std::size_t shard_count_;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace portcullis::policy
