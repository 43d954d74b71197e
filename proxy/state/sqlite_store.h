// Keeps counters (rates, quotas), and what brute-force control knows and blocks, over a restart, in one
// SQLite file. Decisions are made in memory; a thread of its own writes what changed, one transaction a
// batch, so that a crash of the process or the machine loses at most the last second. Stopping loses nothing.
//
//   auto store = SqliteStore::open({.path = "/var/lib/portcullis/state.db", .on_error = count},
//                                  counters, lockout.get());
//   if (!store) die(store.error());   // unreadable, in use, of a newer version, of another program
//   if (!(*store)->damage().empty()) record((*store)->damage());   // moved aside, counters began empty
//   ...                               // before the first session, and kept until after the last
//   store->reset();                   // writes everything
//
// When writing fails later (disk full), on_error is called, memory goes on, and the same records are
// tried again with the next batch.
#pragma once

#include <chrono>
#include <condition_variable>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "policy/lockout.h"
#include "policy/memory_counters.h"
#include "proxy/state/sqlite.h"

namespace portcullis::state {

class SqliteStore {
 public:
  // NOLINTBEGIN(readability-redundant-member-init): as in policy/settings.h
  struct Options {
    std::string path = {};
    // Between two batches; with the time a batch takes it stays below the second promised.
    std::chrono::milliseconds interval{500};
    // Called on the store's thread, or from flush() or the destructor on the caller's. For
    // portcullis_state_store_errors_total and the log.
    std::function<void(const std::string& error)> on_error = {};
    std::function<policy::WallTime()> clock = {};  // empty: the system's
  };
  // NOLINTEND(readability-redundant-member-init)

  // A damaged file is moved aside and a new one begun: mail must not wait for a postmaster.
  // Loads what the file holds into `counters` and `lockout` (may be null), both of which outlive the
  // store, and starts writing behind.
  static std::expected<std::unique_ptr<SqliteStore>, std::string> open(Options options,
                                                                       policy::MemoryCounters& counters,
                                                                       policy::Lockout* lockout);
  ~SqliteStore();
  SqliteStore(const SqliteStore&) = delete;
  SqliteStore& operator=(const SqliteStore&) = delete;

  // What was found and done when the file was damaged; empty: it was not.
  const std::string& damage() const { return damage_; }

  // Writes what changed, now. False when it could not (on_error was called).
  bool flush();

 private:
  struct Failure {
    std::string text;
    bool damaged = false;
  };
  static std::expected<std::unique_ptr<SqliteStore>, Failure> try_open(const Options& options,
                                                                       policy::MemoryCounters& counters,
                                                                       policy::Lockout* lockout);
  SqliteStore(Options options, Database database, policy::MemoryCounters& counters, policy::Lockout* lockout);

  std::expected<void, std::string> prepare_schema();
  std::expected<void, std::string> load_counters();
  std::expected<void, std::string> load_known_networks();
  std::expected<void, std::string> load_blocks();
  struct Batch {
    std::vector<policy::MemoryCounters::Record> counters;
    std::vector<policy::KnownNetworks::Record> logins;
    std::vector<policy::Lockout::Block> blocks;
    bool empty() const { return counters.empty() && logins.empty() && blocks.empty(); }
  };
  Batch take();
  void give_back(const Batch& batch);
  std::expected<void, std::string> write(const Batch& batch);
  std::expected<void, std::string> forget_expired();
  std::expected<void, std::string> forget_evicted();
  void run();

  Options options_;
  policy::MemoryCounters& counters_;
  policy::Lockout* lockout_;
  std::mutex database_mutex_;
  Database database_;
  policy::WallTime next_cleaning_;
  std::mutex mutex_;
  std::condition_variable stop_requested_;
  bool stopping_ = false;
  bool odd_rows_ = false;  // found while loading
  std::string damage_;
  std::thread thread_;
};

}  // namespace portcullis::state
