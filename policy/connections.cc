#include "policy/connections.h"

#include <mutex>

#include "policy/hash.h"
#include "policy/lru_table.h"
#include "policy/rate.h"

namespace portcullis::policy {
namespace {

constexpr std::size_t shard_count = 16;
constexpr std::uint32_t period_seconds = 60;

struct Source {
  std::uint32_t open = 0;
  RateWindow opened;
};
using Table = LruTable<IpNetwork, Source>;

bool is_idle(const Source& source, WallTime now) {
  return source.open == 0 && source.opened.expired(period_seconds, now);
}

// Forgets idle networks, and when the table is full the oldest one without an open connection. Those
// with one are bounded by the descriptors of the process and may exceed the capacity.
void make_room(Table& table, WallTime now) {
  auto at = table.oldest();
  for (int looked = 0; looked < 8 && at != Table::none; ++looked) {
    const auto next = table.newer(at);
    if (is_idle(table.value(at), now) || (table.full() && table.value(at).open == 0)) {
      table.erase(at);
    } else if (table.full()) {
      table.touch(at);  // open: out of the way of the next search
    } else {
      return;
    }
    at = next;
  }
}

}  // namespace

struct ConnectionCounter::Shard {
  mutable std::mutex mutex;
  Table table{1};
};

ConnectionCounter::ConnectionCounter(std::size_t networks_max)
    : shards_(std::make_unique<Shard[]>(shard_count)) {
  for (std::size_t i = 0; i < shard_count; ++i) {
    shards_[i].table = Table((networks_max + shard_count - 1) / shard_count);
  }
}

ConnectionCounter::~ConnectionCounter() = default;

ConnectionCounter::Shard& ConnectionCounter::shard_of(std::uint64_t hash) const {
  return shards_[(hash >> 48) & (shard_count - 1)];
}

ConnectionAnswer ConnectionCounter::open(const ConnectionRule& rule, const IpAddress& client, WallTime now) {
  const IpNetwork network = network_of(client, rule.ipv4_prefix_bits, rule.ipv6_prefix_bits);
  const std::uint64_t hash = keyed_hash(network);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  auto index = shard.table.find(network, hash);
  if (index == Table::none) {
    make_room(shard.table, now);
    index = shard.table.insert(network, hash);
  }
  shard.table.touch(index);
  Source& source = shard.table.value(index);
  ConnectionAnswer answer = ConnectionAnswer::accept;
  if (rule.mode != Mode::off) {
    if (rule.concurrent_per_network != 0 && source.open >= rule.concurrent_per_network) {
      answer = ConnectionAnswer::too_many;
    } else if (rule.new_per_minute_per_network != 0 &&
               source.opened.used(period_seconds, now) >= rule.new_per_minute_per_network) {
      answer = ConnectionAnswer::too_fast;
    }
  }
  if (answer != ConnectionAnswer::accept && rule.mode == Mode::enforce) return answer;
  ++source.open;
  source.opened.add(1, period_seconds, now);
  return answer;
}

void ConnectionCounter::close(const ConnectionRule& rule, const IpAddress& client) {
  const IpNetwork network = network_of(client, rule.ipv4_prefix_bits, rule.ipv6_prefix_bits);
  const std::uint64_t hash = keyed_hash(network);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  const auto index = shard.table.find(network, hash);
  if (index == Table::none || shard.table.value(index).open == 0) return;
  --shard.table.value(index).open;
}

std::size_t ConnectionCounter::networks() const {
  std::size_t total = 0;
  for (std::size_t i = 0; i < shard_count; ++i) {
    const std::lock_guard lock(shards_[i].mutex);
    total += shards_[i].table.size();
  }
  return total;
}

}  // namespace portcullis::policy
