#include "proxy/auth/cache.h"

#include <utility>

namespace portcullis::auth {

void OutcomeCache::Table::erase(const Digest& key) {
  const auto found = by_key.find(key);
  if (found == by_key.end()) return;
  by_use.erase(found->second);
  by_key.erase(found);
}

std::optional<OutcomeCache::Entry> OutcomeCache::find(const Digest& key, Clock::time_point now) {
  const std::scoped_lock guard(lock_);
  for (Table* table : {&successes_, &refusals_}) {
    const auto found = table->by_key.find(key);
    if (found == table->by_key.end()) continue;
    if (found->second->expires <= now) {
      table->erase(key);
      continue;
    }
    table->by_use.splice(table->by_use.begin(), table->by_use, found->second);
    return found->second->entry;
  }
  return std::nullopt;
}

void OutcomeCache::drop(const Digest& key) {
  const std::scoped_lock guard(lock_);
  successes_.erase(key);
  refusals_.erase(key);
}

void OutcomeCache::put(const Digest& key, Entry entry, Clock::time_point now) {
  const bool success = entry.answer.result == Result::success;
  const bool refusal = entry.answer.result == Result::bad_credentials ||
                       entry.answer.result == Result::disabled ||
                       entry.answer.result == Result::password_expired;
  if (!success && !refusal) return;
  const std::chrono::seconds ttl(success ? settings_.ttl_seconds : settings_.negative_ttl_seconds);
  // What was known of this key is overtaken, whether the new answer is kept or not.
  const std::scoped_lock guard(lock_);
  successes_.erase(key);
  refusals_.erase(key);
  if (settings_.ttl_seconds == 0 || ttl.count() == 0 || settings_.entries_max == 0) return;
  Table& table = success ? successes_ : refusals_;
  table.by_use.push_front({key, std::move(entry), now + ttl});
  table.by_key.emplace(key, table.by_use.begin());
  if (table.by_key.size() > settings_.entries_max) {
    const Digest oldest = table.by_use.back().key;
    table.erase(oldest);
  }
}

std::size_t OutcomeCache::size() const {
  const std::scoped_lock guard(lock_);
  return successes_.by_key.size() + refusals_.by_key.size();
}

}  // namespace portcullis::auth
