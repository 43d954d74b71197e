#include "policy/lockout.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <utility>

#include "policy/failures.h"
#include "policy/hash.h"
#include "policy/lru_table.h"

namespace portcullis::policy {
namespace {

constexpr std::size_t shard_count = 16;
constexpr std::uint8_t v4_bits = 32;
constexpr std::uint8_t v6_bits = 64;
constexpr std::uint32_t failures_max = 1000;  // distinct ones remembered of an entry, whatever the rule says

// Failures by key, sharded. Keys are chosen by strangers, so an entry in use may be pushed out by a
// flood of others; that takes `entries_max` networks or logins within one window.
template <typename Key>
class Ledger {
 public:
  explicit Ledger(std::size_t entries_max) : shards_(std::make_unique<Shard[]>(shard_count)) {
    for (std::size_t i = 0; i < shard_count; ++i) {
      shards_[i].table = Table((entries_max + shard_count - 1) / shard_count);
    }
  }

  struct Standing {
    std::uint32_t blocked_for_seconds = 0;
    std::uint32_t distinct = 0;
  };

  template <typename View>
  Standing look(const View& key, std::uint32_t window_seconds, WallTime now) const {
    const std::uint64_t hash = keyed_hash(key);
    const Shard& shard = shard_of(hash);
    const std::lock_guard lock(shard.mutex);
    const auto index = shard.table.find(key, hash);
    if (index == Table::none) return {};
    return standing(shard.table.value(index).failures, window_seconds, now);
  }

  template <typename View>
  Standing note(const View& key, std::uint64_t failure, std::uint32_t limit, const LockoutRule& rule,
                WallTime now) {
    const std::uint64_t hash = keyed_hash(key);
    Shard& shard = shard_of(hash);
    const std::lock_guard lock(shard.mutex);
    auto index = shard.table.find(key, hash);
    if (index == Table::none) {
      make_room(shard.table, rule.window_seconds, now);
      index = shard.table.insert(key, hash);
    }
    shard.table.touch(index);
    Entry& entry = shard.table.value(index);
    const bool blocked = entry.failures.blocked_for_seconds(now) != 0;
    entry.failures.note(failure, std::min(limit, failures_max), rule.window_seconds, rule.block_seconds, now);
    if (!blocked && entry.failures.blocked_for_seconds(now) != 0) entry.is_new = any_new_ = true;
    return standing(entry.failures, rule.window_seconds, now);
  }

  void restore(const Key& key, WallTime until, WallTime now) {
    const std::uint64_t hash = keyed_hash(key);
    Shard& shard = shard_of(hash);
    const std::lock_guard lock(shard.mutex);
    auto index = shard.table.find(key, hash);
    if (index == Table::none) {
      if (shard.table.full()) shard.table.erase(shard.table.oldest());
      index = shard.table.insert(key, hash);
    }
    shard.table.value(index).failures.block_until(until, now);
  }

  // Calls tell(key, seconds) for each block that is new.
  template <typename Tell>
  void take_new(WallTime now, Tell tell) {
    if (!any_new_.exchange(false)) return;
    for (std::size_t i = 0; i < shard_count; ++i) {
      const std::lock_guard lock(shards_[i].mutex);
      Table& table = shards_[i].table;
      for (auto at = table.oldest(); at != Table::none; at = table.newer(at)) {
        Entry& entry = table.value(at);
        if (!std::exchange(entry.is_new, false)) continue;
        if (const auto left = entry.failures.blocked_for_seconds(now); left != 0) tell(table.key(at), left);
      }
    }
  }

  void mark_new(const Key& key) {
    const std::uint64_t hash = keyed_hash(key);
    Shard& shard = shard_of(hash);
    const std::lock_guard lock(shard.mutex);
    const auto index = shard.table.find(key, hash);
    if (index != Table::none) shard.table.value(index).is_new = any_new_ = true;
  }

  template <typename View>
  void forget(const View& key) {
    const std::uint64_t hash = keyed_hash(key);
    Shard& shard = shard_of(hash);
    const std::lock_guard lock(shard.mutex);
    const auto index = shard.table.find(key, hash);
    if (index != Table::none) shard.table.erase(index);
  }

  std::size_t blocked(WallTime now) const {
    std::size_t total = 0;
    for (std::size_t i = 0; i < shard_count; ++i) {
      const std::lock_guard lock(shards_[i].mutex);
      const Table& table = shards_[i].table;
      for (auto at = table.oldest(); at != Table::none; at = table.newer(at)) {
        if (table.value(at).failures.blocked_for_seconds(now) != 0) ++total;
      }
    }
    return total;
  }

 private:
  struct Entry {
    Failures failures;
    bool is_new = false;  // a block that nobody has taken yet
  };
  using Table = LruTable<Key, Entry>;
  struct Shard {
    mutable std::mutex mutex;
    Table table{1};
  };

  Shard& shard_of(std::uint64_t hash) const { return shards_[(hash >> 48) & (shard_count - 1)]; }

  static Standing standing(const Failures& failures, std::uint32_t window_seconds, WallTime now) {
    return {failures.blocked_for_seconds(now), failures.distinct(window_seconds, now)};
  }

  static void make_room(Table& table, std::uint32_t window_seconds, WallTime now) {
    for (int i = 0; i < 2 && table.oldest() != Table::none; ++i) {
      if (!table.full() && !table.value(table.oldest()).failures.idle(window_seconds, now)) return;
      table.erase(table.oldest());
    }
  }

  std::unique_ptr<Shard[]> shards_;
  std::atomic<bool> any_new_ = false;
};

std::uint32_t delay_ms(const LockoutRule& rule, std::uint32_t distinct) {
  if (distinct == 0) return 0;
  const std::uint32_t doublings = std::min(distinct - 1, 31U);
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(std::uint64_t{rule.first_delay_ms} << doublings, rule.max_delay_ms));
}

std::uint64_t pair_hash(std::string_view login, std::uint64_t password_hash) {
  return siphash13(login, {password_hash, ~password_hash});
}

}  // namespace

struct Lockout::State {
  State(const LockoutRule& settings, std::size_t entries_max)
      : networks(entries_max),
        logins(entries_max),
        known(settings.remember_networks_days, entries_max * 2),
        rule_(settings) {}

  LockoutRule rule() const {
    const std::lock_guard lock(mutex_);
    return rule_;
  }
  void use(const LockoutRule& rule) {
    known.remember_days(rule.remember_networks_days);
    const std::lock_guard lock(mutex_);
    rule_ = rule;
  }

  // The login, and for a network where it logged in before that network with it. No canonical login
  // has a NUL, so the two can not be confused.
  std::string login_key(const IpNetwork& network, std::string_view login, WallTime now) const {
    std::string key(login);
    if (known.contains(login, network, now)) append(key, network);
    return key;
  }

  static std::string key_of(const Block& block) {
    std::string key = block.login;
    if (block.network) append(key, *block.network);
    return key;
  }

  static void append(std::string& key, const IpNetwork& network) {
    key += '\0';
    key += to_string(network);
  }

  static Answer answer(const LockoutRule& rule, const Ledger<IpNetwork>::Standing& network,
                       const Ledger<std::string>::Standing& login) {
    Scope scope = Scope::none;
    std::uint32_t retry = 0;
    if (login.blocked_for_seconds != 0) {
      scope = Scope::login;
      retry = login.blocked_for_seconds;
    }
    if (network.blocked_for_seconds > retry) {
      scope = Scope::network;
      retry = network.blocked_for_seconds;
    }
    if (rule.mode == Mode::shadow) return {Scope::none, retry, 0, scope};
    // An office behind one address has many mistyped passwords: the first half of what its network
    // may do wrong delays nobody.
    const std::uint32_t free = rule.failures_per_network / 2;
    const std::uint32_t from_network = network.distinct > free ? network.distinct - free : 0;
    return {scope, retry, delay_ms(rule, std::max(login.distinct, from_network)), Scope::none};
  }

  Ledger<IpNetwork> networks;
  Ledger<std::string> logins;
  KnownNetworks known;

 private:
  mutable std::mutex mutex_;
  LockoutRule rule_;
};

Lockout::Lockout(LockoutRule rule, std::size_t entries_max)
    : state_(std::make_unique<State>(rule, entries_max)) {}

Lockout::~Lockout() = default;

void Lockout::use(const LockoutRule& rule) { state_->use(rule); }

Lockout::Answer Lockout::before(const IpAddress& client, std::string_view login, WallTime now) const {
  const LockoutRule rule = state_->rule();
  if (rule.mode == Mode::off) return {};
  const IpNetwork network = network_of(client, v4_bits, v6_bits);
  const auto own = state_->logins.look(state_->login_key(network, login, now), rule.window_seconds, now);
  // Where the login was used before, what others do from that network does not shut it out.
  if (state_->known.contains(login, network, now)) return State::answer(rule, {}, own);
  return State::answer(rule, state_->networks.look(network, rule.window_seconds, now), own);
}

Lockout::Answer Lockout::failed(const IpAddress& client, std::string_view login, std::uint64_t password_hash,
                                WallTime now) {
  const LockoutRule rule = state_->rule();
  if (rule.mode == Mode::off) return {};
  const IpNetwork network = network_of(client, v4_bits, v6_bits);
  const std::uint64_t pair = pair_hash(login, password_hash);
  const auto all = state_->networks.note(network, pair, rule.failures_per_network, rule, now);
  const auto own = state_->logins.note(state_->login_key(network, login, now), pair,
                                       rule.distinct_passwords_per_login, rule, now);
  return State::answer(
      rule, state_->known.contains(login, network, now) ? Ledger<IpNetwork>::Standing{} : all, own);
}

void Lockout::succeeded(const IpAddress& client, std::string_view login, WallTime now) {
  const LockoutRule rule = state_->rule();
  if (rule.mode == Mode::off) return;
  const IpNetwork network = network_of(client, v4_bits, v6_bits);
  state_->known.add(login, network, now);
  if (rule.remember_networks_days != 0) state_->logins.forget(state_->login_key(network, login, now));
}

std::size_t Lockout::blocked_networks(WallTime now) const { return state_->networks.blocked(now); }
std::size_t Lockout::blocked_logins(WallTime now) const { return state_->logins.blocked(now); }
KnownNetworks& Lockout::known_networks() { return state_->known; }

void Lockout::restore(const Block& block, WallTime now) {
  // Neither for longer than a block that begins now (the rule may have changed), nor what is over.
  const LockoutRule rule = state_->rule();
  const WallTime until = std::min(block.until, now + std::chrono::seconds(rule.block_seconds));
  if (rule.mode == Mode::off || until <= now) return;
  if (!block.login.empty()) {
    state_->logins.restore(State::key_of(block), until, now);
  } else if (block.network) {
    state_->networks.restore(*block.network, until, now);
  }
}

std::vector<Lockout::Block> Lockout::take_new_blocks(WallTime now) {
  std::vector<Block> blocks;
  state_->networks.take_new(now, [&](const IpNetwork& network, std::uint32_t left) {
    blocks.push_back({"", network, now + std::chrono::seconds(left)});
  });
  state_->logins.take_new(now, [&](const std::string& key, std::uint32_t left) {
    const std::size_t end = std::min(key.find('\0'), key.size());
    blocks.push_back({key.substr(0, end), std::nullopt, now + std::chrono::seconds(left)});
    if (end < key.size()) blocks.back().network = parse_network(std::string_view(key).substr(end + 1));
  });
  return blocks;
}

void Lockout::mark_new(const Block& block) {
  if (!block.login.empty()) {
    state_->logins.mark_new(State::key_of(block));
  } else if (block.network) {
    state_->networks.mark_new(*block.network);
  }
}

}  // namespace portcullis::policy
