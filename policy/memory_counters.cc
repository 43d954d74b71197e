#include "policy/memory_counters.h"

#include <algorithm>
#include <bit>
#include <mutex>
#include <unordered_map>

#include "policy/hash.h"
#include "policy/lru_table.h"
#include "policy/text_map.h"

namespace portcullis::policy {
namespace {

struct Counter {
  RateWindow window;
  bool changed = false;
};

using Table = LruTable<std::string, Counter>;

// The counters of one limit and period in one shard. A limit whose period an admin changes has two
// of them while sessions of the old configuration live.
struct Limit {
  Limit(std::uint32_t period, std::size_t capacity) : period_seconds(period), table(capacity) {}

  // Forgets up to `count` keys whose period has passed; the least recently used passes first.
  void forget_expired(std::size_t count, WallTime now) {
    for (; count > 0 && table.oldest() != Table::none; --count) {
      if (!table.value(table.oldest()).window.expired(period_seconds, now)) return;
      table.erase(table.oldest());
    }
  }

  Table::Index find_or_insert(std::string_view key, std::uint64_t hash, WallTime now) {
    auto index = table.find(key, hash);
    if (index == Table::none) {
      forget_expired(2, now);  // old ones never pile up, at a constant price
      for (int i = 0; i < 2 && table.full(); ++i) {
        table.erase(table.oldest());
        ++evictions;
      }
      index = table.insert(key, hash);
    }
    table.touch(index);
    return index;
  }

  void note_change(Table::Index index) {
    table.value(index).changed = true;
    if (listed.size() <= index) listed.resize(index + 1);
    if (listed[index]) return;
    listed[index] = true;
    changed.push_back(index);
  }

  CounterStore::Outcome judge(const RateWindow& window, const CounterStore::Charge& charge,
                              WallTime now) const {
    CounterStore::Outcome outcome;
    outcome.used = window.used(period_seconds, now);
    outcome.within = outcome.used <= charge.capacity && charge.amount <= charge.capacity - outcome.used;
    if (!outcome.within) {
      outcome.retry_after_seconds =
          window.retry_after_seconds(charge.amount, charge.capacity, period_seconds, now);
    }
    return outcome;
  }

  std::uint32_t period_seconds;
  Table table;
  std::vector<Table::Index> changed;  // entries to be written, each index once
  std::vector<bool> listed;           // by index: is in `changed`; stays so when its entry is evicted
  std::uint64_t evictions = 0;
};

}  // namespace

struct MemoryCounters::Shard {
  mutable std::mutex mutex;
  std::size_t capacity = 0;
  TextMap<std::vector<std::unique_ptr<Limit>>> limits;

  Limit* find(std::string_view name, std::uint32_t period_seconds) const {
    const auto named = limits.find(name);
    if (named == limits.end()) return nullptr;
    for (const auto& limit : named->second) {
      if (limit->period_seconds == period_seconds) return limit.get();
    }
    return nullptr;
  }
  Limit& limit(std::string_view name, std::uint32_t period_seconds) {
    if (Limit* found = find(name, period_seconds)) return *found;
    auto& periods = limits.try_emplace(std::string(name)).first->second;
    return *periods.emplace_back(std::make_unique<Limit>(period_seconds, capacity));
  }
};

MemoryCounters::MemoryCounters(std::size_t keys_max)
    : shard_count_(std::bit_floor(std::clamp<std::size_t>(keys_max / 1024, 1, 64))),
      shards_(std::make_unique<Shard[]>(shard_count_)) {
  set_keys_max(keys_max);
}

MemoryCounters::~MemoryCounters() = default;

void MemoryCounters::set_keys_max(std::size_t keys_max) {
  for (std::size_t i = 0; i < shard_count_; ++i) {
    Shard& shard = shards_[i];
    const std::lock_guard lock(shard.mutex);
    shard.capacity = (keys_max + shard_count_ - 1) / shard_count_;
    for (auto& [name, periods] : shard.limits) {
      for (auto& limit : periods) limit->table.set_capacity(shard.capacity);
    }
  }
}

// The table inside a shard uses the low bits.
MemoryCounters::Shard& MemoryCounters::shard_of(std::uint64_t hash) const {
  return shards_[(hash >> 48) & (shard_count_ - 1)];
}

std::expected<CounterStore::Outcome, StoreError> MemoryCounters::charge(const Charge& charge, WallTime now,
                                                                        bool always) {
  const std::uint64_t hash = keyed_hash(charge.key);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  Limit& limit = shard.limit(charge.limit, charge.period_seconds);
  const auto index = limit.find_or_insert(charge.key, hash, now);
  RateWindow& window = limit.table.value(index).window;
  Outcome outcome = limit.judge(window, charge, now);
  if (outcome.within || always) {
    window.add(charge.amount, charge.period_seconds, now);
    outcome.used = outcome.within ? outcome.used + charge.amount : window.used(charge.period_seconds, now);
    limit.note_change(index);
  }
  return outcome;
}

void MemoryCounters::refund(const Charge& charge, WallTime charged, WallTime now) {
  const std::uint64_t hash = keyed_hash(charge.key);
  const Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  Limit* limit = shard.find(charge.limit, charge.period_seconds);
  if (limit == nullptr) return;
  const auto index = limit->table.find(charge.key, hash);
  if (index == Table::none) return;  // evicted meanwhile
  limit->table.value(index).window.take_back(charge.amount, charge.period_seconds, charged, now);
  limit->note_change(index);
}

std::expected<CounterStore::Outcome, StoreError> MemoryCounters::peek(const Charge& charge,
                                                                      WallTime now) const {
  const std::uint64_t hash = keyed_hash(charge.key);
  const Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  if (const Limit* limit = shard.find(charge.limit, charge.period_seconds)) {
    const auto index = limit->table.find(charge.key, hash);
    if (index != Table::none) return limit->judge(limit->table.value(index).window, charge, now);
  }
  return Outcome{.within = charge.amount <= charge.capacity, .used = 0, .retry_after_seconds = 0};
}

MemoryCounters::LimitStatus MemoryCounters::status(std::string_view limit) const {
  LimitStatus total;
  for (std::size_t i = 0; i < shard_count_; ++i) {
    const std::lock_guard lock(shards_[i].mutex);
    const auto named = shards_[i].limits.find(limit);
    if (named == shards_[i].limits.end()) continue;
    for (const auto& period : named->second) {
      total.keys += period->table.size();
      total.evictions += period->evictions;
    }
  }
  return total;
}

std::size_t MemoryCounters::keys() const {
  std::size_t total = 0;
  for (std::size_t i = 0; i < shard_count_; ++i) {
    const std::lock_guard lock(shards_[i].mutex);
    for (const auto& [name, periods] : shards_[i].limits) {
      for (const auto& limit : periods) total += limit->table.size();
    }
  }
  return total;
}

bool MemoryCounters::remembers(std::string_view limit, std::uint32_t period_seconds,
                               std::string_view key) const {
  const std::uint64_t hash = keyed_hash(key);
  const Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  const Limit* found = shard.find(limit, period_seconds);
  return found != nullptr && found->table.find(key, hash) != Table::none;
}

void MemoryCounters::forget_expired(WallTime now) {
  for (std::size_t i = 0; i < shard_count_; ++i) {
    const std::lock_guard lock(shards_[i].mutex);
    for (auto& [name, periods] : shards_[i].limits) {
      for (auto& limit : periods) limit->forget_expired(limit->table.size(), now);
    }
  }
}

void MemoryCounters::restore(const Record& record, WallTime now) {
  Counter restored;
  restored.window.restore(record.window);
  if (restored.window.expired(record.period_seconds, now)) return;
  const std::uint64_t hash = keyed_hash(record.key);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  Limit& limit = shard.limit(record.limit, record.period_seconds);
  limit.table.value(limit.find_or_insert(record.key, hash, now)) = restored;
}

std::vector<MemoryCounters::Record> MemoryCounters::take_changed() {
  std::vector<Record> records;
  for (std::size_t i = 0; i < shard_count_; ++i) {
    const std::lock_guard lock(shards_[i].mutex);
    for (auto& [name, periods] : shards_[i].limits) {
      for (auto& limit : periods) {
        for (const auto index : limit->changed) {
          limit->listed[index] = false;
          // Its entry may have been evicted since, or given to a key that is not changed yet.
          if (!limit->table.used(index) || !limit->table.value(index).changed) continue;
          Counter& counter = limit->table.value(index);
          counter.changed = false;
          records.push_back({name, limit->table.key(index), limit->period_seconds, counter.window.save()});
        }
        limit->changed.clear();
      }
    }
  }
  return records;
}

void MemoryCounters::mark_changed(const Record& record) {
  const std::uint64_t hash = keyed_hash(record.key);
  const Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  Limit* limit = shard.find(record.limit, record.period_seconds);
  if (limit == nullptr) return;
  const auto index = limit->table.find(record.key, hash);
  if (index != Table::none) limit->note_change(index);
}

}  // namespace portcullis::policy
