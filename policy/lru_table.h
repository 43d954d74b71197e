// A bounded hash table that forgets the least recently used entry: what every shared table of the
// policies is made of. Not thread-safe (its shard's mutex is the caller's). Entries live in one
// vector and are named by index; an index stays valid until its entry is erased or evicted. Once the
// vector has grown, finding, inserting and evicting allocate nothing but a longer key.
//
//   const std::uint64_t hash = keyed_hash(name);
//   auto i = table.find(name, hash);
//   if (i == table.none) i = table.insert(name, hash);  // room made by the caller: see full()
//   table.touch(i);                                     // now the most recently used
//   table.value(i) ...
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace portcullis::policy {

template <typename Key, typename Value>
class LruTable {
 public:
  using Index = std::uint32_t;
  static constexpr Index none = 0xffffffff;

  explicit LruTable(std::size_t capacity) : capacity_(capacity == 0 ? 1 : capacity) {}

  std::size_t size() const { return size_; }
  // What is too much after it leaves as room is made.
  void set_capacity(std::size_t capacity) { capacity_ = capacity == 0 ? 1 : capacity; }
  bool full() const { return size_ >= capacity_; }

  // `View` is anything comparable with Key, e.g. std::string_view for std::string.
  template <typename View>
  Index find(const View& key, std::uint64_t hash) const {
    if (buckets_.empty()) return none;
    for (Index i = buckets_[bucket(hash)]; i != none; i = entries_[i].next_in_bucket) {
      if (entries_[i].hash == hash && entries_[i].key == key) return i;
    }
    return none;
  }

  // `key` must not be in the table. Grows past the capacity if the caller did not make room.
  template <typename View>
  Index insert(const View& key, std::uint64_t hash) {
    if (size_ >= buckets_.size()) rehash();
    Index i = free_;
    if (i != none) {
      free_ = entries_[i].next_in_bucket;
    } else {
      i = static_cast<Index>(entries_.size());
      entries_.emplace_back();
    }
    Entry& entry = entries_[i];
    entry.key = key;
    entry.hash = hash;
    entry.used = true;
    Index& head = buckets_[bucket(hash)];
    entry.next_in_bucket = head;
    head = i;
    link_newest(i);
    ++size_;
    return i;
  }

  void touch(Index i) {
    if (i == newest_) return;
    unlink(i);
    link_newest(i);
  }

  void erase(Index i) {
    Entry& entry = entries_[i];
    Index* at = &buckets_[bucket(entry.hash)];
    while (*at != i) at = &entries_[*at].next_in_bucket;
    *at = entry.next_in_bucket;
    unlink(i);
    entry.value = Value{};
    entry.used = false;
    entry.next_in_bucket = free_;
    free_ = i;
    --size_;
  }

  Index oldest() const { return oldest_; }
  Index newer(Index i) const { return entries_[i].newer; }
  bool used(Index i) const { return i < entries_.size() && entries_[i].used; }
  const Key& key(Index i) const { return entries_[i].key; }
  Value& value(Index i) { return entries_[i].value; }
  const Value& value(Index i) const { return entries_[i].value; }

 private:
  struct Entry {
    Key key{};
    std::uint64_t hash = 0;
    Value value{};
    Index next_in_bucket = none;  // of the free list when not used
    Index newer = none;
    Index older = none;
    bool used = false;
  };

  std::size_t bucket(std::uint64_t hash) const { return hash & (buckets_.size() - 1); }

  void rehash() {
    buckets_.assign(buckets_.empty() ? 16 : buckets_.size() * 2, none);
    for (Index i = 0; i < entries_.size(); ++i) {
      if (!entries_[i].used) continue;
      Index& head = buckets_[bucket(entries_[i].hash)];
      entries_[i].next_in_bucket = head;
      head = i;
    }
  }

  void link_newest(Index i) {
    entries_[i].older = newest_;
    entries_[i].newer = none;
    if (newest_ != none) entries_[newest_].newer = i;
    newest_ = i;
    if (oldest_ == none) oldest_ = i;
  }

  void unlink(Index i) {
    const Index older = entries_[i].older;
    const Index newer = entries_[i].newer;
    (older != none ? entries_[older].newer : oldest_) = newer;
    (newer != none ? entries_[newer].older : newest_) = older;
  }

  std::size_t capacity_;
  std::size_t size_ = 0;
  std::vector<Index> buckets_;  // power of two
  std::vector<Entry> entries_;
  Index free_ = none;
  Index newest_ = none;
  Index oldest_ = none;
};

}  // namespace portcullis::policy
