#include "policy/known_networks.h"

#include <algorithm>
#include <mutex>

#include "policy/hash.h"
#include "policy/lru_table.h"

namespace portcullis::policy {
namespace {

constexpr std::size_t shard_count = 16;

struct Login {
  std::vector<KnownNetworks::Seen> networks;
  bool changed = false;
};
using Table = LruTable<std::string, Login>;

std::int32_t day_of(WallTime now) {
  return static_cast<std::int32_t>(std::chrono::floor<std::chrono::days>(now).time_since_epoch().count());
}

// A clock that runs a little behind makes nothing unknown. What is further ahead was noted by a clock that
// was wrong: it would count until that day comes, and for remember_days more.
bool is_ahead(const KnownNetworks::Seen& seen, std::int32_t today) {
  return std::int64_t{seen.day} > std::int64_t{today} + 1;
}

Login& find_or_insert(Table& table, std::string_view login, std::uint64_t hash) {
  auto index = table.find(login, hash);
  if (index == Table::none) {
    if (table.full()) table.erase(table.oldest());
    index = table.insert(login, hash);
  }
  table.touch(index);
  return table.value(index);
}

}  // namespace

struct KnownNetworks::Shard {
  mutable std::mutex mutex;
  Table table{1};
};

KnownNetworks::KnownNetworks(std::uint32_t remember_days, std::size_t logins_max)
    : shards_(std::make_unique<Shard[]>(shard_count)) {
  this->remember_days(remember_days);
  for (std::size_t i = 0; i < shard_count; ++i)
    shards_[i].table = Table((logins_max + shard_count - 1) / shard_count);
}

KnownNetworks::~KnownNetworks() = default;

void KnownNetworks::remember_days(std::uint32_t days) {
  remember_days_ = static_cast<std::int32_t>(std::min<std::uint32_t>(days, 36500));
}

KnownNetworks::Shard& KnownNetworks::shard_of(std::uint64_t hash) const {
  return shards_[(hash >> 48) & (shard_count - 1)];
}

bool KnownNetworks::contains(std::string_view login, const IpNetwork& network, WallTime now) const {
  const std::uint64_t hash = keyed_hash(login);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  const auto index = shard.table.find(login, hash);
  if (index == Table::none) return false;
  auto& networks = shard.table.value(index).networks;
  const auto seen = std::ranges::find(networks, network, &Seen::network);
  if (seen == networks.end()) return false;
  const std::int32_t today = day_of(now);
  if (is_ahead(*seen, today)) {
    networks.erase(seen);
    shard.table.value(index).changed = true;
    return false;
  }
  return std::int64_t{seen->day} + remember_days_ >= today;
}

void KnownNetworks::add(std::string_view login, const IpNetwork& network, WallTime now) {
  if (remember_days_ == 0) return;
  const std::uint64_t hash = keyed_hash(login);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  Login& known = find_or_insert(shard.table, login, hash);
  const std::int32_t today = day_of(now);
  if (std::erase_if(known.networks, [&](const Seen& seen) { return is_ahead(seen, today); }) > 0) {
    known.changed = true;
  }
  auto seen = std::ranges::find(known.networks, network, &Seen::network);
  if (seen != known.networks.end() && seen->day == today) return;
  if (seen == known.networks.end() && known.networks.size() < networks_per_login) {
    seen = known.networks.emplace(seen);
  } else if (seen == known.networks.end()) {
    seen = std::ranges::min_element(known.networks, {}, &Seen::day);
  }
  *seen = {network, today};
  known.changed = true;
}

std::size_t KnownNetworks::logins() const {
  std::size_t total = 0;
  for (std::size_t i = 0; i < shard_count; ++i) {
    const std::lock_guard lock(shards_[i].mutex);
    total += shards_[i].table.size();
  }
  return total;
}

void KnownNetworks::restore(const Record& record, WallTime now) {
  Login restored;
  for (const Seen& seen : record.networks) {
    if (!is_ahead(seen, day_of(now)) && std::int64_t{seen.day} + remember_days_ >= day_of(now) &&
        restored.networks.size() < networks_per_login) {
      restored.networks.push_back(seen);
    }
  }
  if (restored.networks.empty()) return;
  const std::uint64_t hash = keyed_hash(record.login);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  find_or_insert(shard.table, record.login, hash) = std::move(restored);
}

std::vector<KnownNetworks::Record> KnownNetworks::take_changed() {
  std::vector<Record> records;
  for (std::size_t i = 0; i < shard_count; ++i) {
    const std::lock_guard lock(shards_[i].mutex);
    Table& table = shards_[i].table;
    for (auto at = table.oldest(); at != Table::none; at = table.newer(at)) {
      if (!table.value(at).changed) continue;
      table.value(at).changed = false;
      records.push_back({table.key(at), table.value(at).networks});
    }
  }
  return records;
}

void KnownNetworks::mark_changed(const Record& record) {
  const std::uint64_t hash = keyed_hash(record.login);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  const auto index = shard.table.find(record.login, hash);
  if (index != Table::none) shard.table.value(index).changed = true;
}

}  // namespace portcullis::policy
