// Answers remembered for a while, so that a mail client's connections do not hammer the directory
// (3.4). Keys are keyed hashes over login, mechanism and secret: a changed password is another key, so
// the new one is asked about at once; the old one may still pass until its entry's time is over.
// Successes and refusals have tables of their own, so that guessing can not push the owners out.
// Thread-safe; bounded; the least recently used entry goes first.
#pragma once

#include <cstdint>
#include <cstring>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "proxy/auth/backend.h"
#include "proxy/auth/keyed_hash.h"
#include "proxy/auth/settings.h"

namespace portcullis::auth {

class OutcomeCache {
 public:
  explicit OutcomeCache(Cache settings) : settings_(settings) {}
  const Cache& settings() const { return settings_; }

  struct Entry {
    Answer answer;
    std::uint64_t version = 0;  // the caller's; see Backend::version_of
  };
  // Marks the entry as just used. Expired entries are dropped on the way.
  std::optional<Entry> find(const Digest& key, Clock::time_point now);
  void drop(const Digest& key);
  // Keeps success, bad_credentials, disabled and password_expired; ignores anything else.
  void put(const Digest& key, Entry entry, Clock::time_point now);
  std::size_t size() const;

 private:
  struct Node {
    Digest key;
    Entry entry;
    Clock::time_point expires;
  };
  struct DigestHash {  // the key is an HMAC: any part of it is a hash already
    std::size_t operator()(const Digest& digest) const { return static_cast<std::size_t>(short_of(digest)); }
  };
  struct Table {
    std::list<Node> by_use;  // most recent first
    std::unordered_map<Digest, std::list<Node>::iterator, DigestHash> by_key;
    void erase(const Digest& key);
  };
  Cache settings_;
  mutable std::mutex lock_;
  Table successes_;
  Table refusals_;
};

}  // namespace portcullis::auth
