#include "proxy/state/sqlite_store.h"

#include <charconv>
#include <exception>
#include <system_error>

namespace portcullis::state {
namespace {

using policy::KnownNetworks;
using policy::Lockout;
using policy::MemoryCounters;
using policy::RateWindow;
using policy::WallTime;

constexpr std::int64_t schema_version = 1;
constexpr auto cleaning_interval = std::chrono::minutes(10);

// Readable with the sqlite3 tool: amounts are decimal, newest slot first, separated by blanks.
constexpr const char* schema = R"(
BEGIN;
CREATE TABLE counters (limit_name TEXT, key TEXT, period_seconds INTEGER, newest_slot INTEGER,
                       amounts TEXT, expires INTEGER, PRIMARY KEY (limit_name, key, period_seconds)) WITHOUT ROWID;
CREATE TABLE known_networks (login TEXT, network TEXT, last_seen_day INTEGER,
                             PRIMARY KEY (login, network)) WITHOUT ROWID;
PRAGMA user_version = 1;
COMMIT;)";

// Came later; programs that do not know it leave it alone. An empty login: the whole network; an empty
// network: the login wherever it is not known.
constexpr const char* blocks_schema =
    "CREATE TABLE IF NOT EXISTS blocks (login TEXT, network TEXT, until INTEGER, "
    "PRIMARY KEY (login, network)) WITHOUT ROWID";

std::string write_amounts(const RateWindow::Saved& window) {
  std::string text;
  for (const std::uint64_t amount : window.amounts) {
    if (!text.empty()) text += ' ';
    text += std::to_string(amount);
  }
  return text;
}

bool read_amounts(std::string_view text, RateWindow::Saved& window) {
  for (std::uint64_t& amount : window.amounts) {
    while (text.starts_with(' ')) text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
    if (error != std::errc{}) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  }
  return text.empty();
}

// When the newest slot's amount is forgotten.
std::int64_t expiry(const MemoryCounters::Record& record) {
  return (record.window.newest_slot + static_cast<std::int64_t>(RateWindow::slots)) *
         RateWindow::slot_seconds(record.period_seconds);
}

std::expected<void, std::string> finish(Statement& statement) {
  if (const auto step = statement.step(); !step) return std::unexpected(step.error());
  return {};
}

}  // namespace

std::expected<std::unique_ptr<SqliteStore>, SqliteStore::Failure> SqliteStore::try_open(
    const Options& options, MemoryCounters& counters, Lockout* lockout) {
  auto database = Database::open(options.path);
  if (!database) return std::unexpected(Failure{database.error().text, database.error().damaged});
  std::unique_ptr<SqliteStore> store(new SqliteStore(options, std::move(*database), counters, lockout));
  for (const auto step : {&SqliteStore::prepare_schema, &SqliteStore::load_counters,
                          &SqliteStore::load_known_networks, &SqliteStore::load_blocks}) {
    if (auto done = (store.get()->*step)(); !done) {
      return std::unexpected(
          Failure{"can not load the state file " + store->options_.path + ": " + done.error(),
                  store->odd_rows_ || store->database_.is_damaged()});
    }
  }
  return store;
}

std::expected<std::unique_ptr<SqliteStore>, std::string> SqliteStore::open(Options options,
                                                                           MemoryCounters& counters,
                                                                           Lockout* lockout) {
  if (!options.clock) {
    options.clock = [] { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); };
  }
  auto store = try_open(options, counters, lockout);
  if (!store && store.error().damaged) {
    const std::string found = store.error().text;
    const auto aside = Database::set_aside(options.path);
    if (!aside) return std::unexpected(found + "; " + aside.error());
    store = try_open(options, counters, lockout);
    if (store) (*store)->damage_ = found + "; it is now " + *aside + ", and counters begin empty";
  }
  if (!store) return std::unexpected(store.error().text);
  try {
    (*store)->thread_ = std::thread([raw = store->get()] { raw->run(); });
  } catch (const std::system_error& error) {
    return std::unexpected("the thread that writes the state file cannot be started: " +
                           error.code().message());
  }
  return std::move(*store);
}

SqliteStore::SqliteStore(Options options, Database database, MemoryCounters& counters, Lockout* lockout)
    : options_(std::move(options)), counters_(counters), lockout_(lockout), database_(std::move(database)) {}

SqliteStore::~SqliteStore() {
  if (!thread_.joinable()) return;  // open() failed: nothing was loaded, so nothing may be written
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_requested_.notify_one();
  thread_.join();
  next_cleaning_ = {};
  flush();
}

std::expected<void, std::string> SqliteStore::prepare_schema() {
  const auto version = database_.number("PRAGMA user_version");
  if (!version) return std::unexpected(version.error());
  if (*version == schema_version) return database_.run(blocks_schema);
  if (*version > schema_version) {
    return std::unexpected("it was written by a newer version (format " + std::to_string(*version) + ")");
  }
  const auto tables = database_.number("SELECT count(*) FROM sqlite_schema");
  if (!tables) return std::unexpected(tables.error());
  if (*tables != 0) return std::unexpected("it is the database of another program");
  if (auto made = database_.run(schema); !made) return made;
  return database_.run(blocks_schema);
}

std::expected<void, std::string> SqliteStore::load_counters() {
  const WallTime now = options_.clock();
  auto rows = database_.prepare(
      "SELECT limit_name, key, period_seconds, newest_slot, amounts FROM counters WHERE expires > ? "
      "ORDER BY newest_slot");
  if (!rows) return std::unexpected(rows.error());
  rows->bind(1, now.time_since_epoch().count());
  while (true) {
    const auto step = rows->step();
    if (!step) return std::unexpected(step.error());
    if (*step == Statement::Step::done) return {};
    MemoryCounters::Record record{
        rows->text(0), rows->text(1), static_cast<std::uint32_t>(rows->number(2)), {}};
    record.window.newest_slot = rows->number(3);
    if (!read_amounts(rows->text(4), record.window)) {
      odd_rows_ = true;
      return std::unexpected("bad amounts for " + record.limit + " of " + record.key);
    }
    counters_.restore(record, now);
  }
}

std::expected<void, std::string> SqliteStore::load_known_networks() {
  if (lockout_ == nullptr) return {};
  const WallTime now = options_.clock();
  auto rows = database_.prepare("SELECT login, network, last_seen_day FROM known_networks ORDER BY login");
  if (!rows) return std::unexpected(rows.error());
  KnownNetworks::Record record;
  while (true) {
    const auto step = rows->step();
    if (!step) return std::unexpected(step.error());
    const bool row = *step == Statement::Step::row;
    if (!row || rows->text(0) != record.login) {
      if (!record.networks.empty()) lockout_->known_networks().restore(record, now);
      if (!row) return {};
      record = {rows->text(0), {}};
    }
    const auto network = policy::parse_network(rows->text(1));
    odd_rows_ = !network;
    if (!network) return std::unexpected("bad network " + rows->text(1) + " of " + record.login);
    record.networks.push_back({*network, static_cast<std::int32_t>(rows->number(2))});
  }
}

std::expected<void, std::string> SqliteStore::load_blocks() {
  if (lockout_ == nullptr) return {};
  const WallTime now = options_.clock();
  auto rows = database_.prepare("SELECT login, network, until FROM blocks WHERE until > ?");
  if (!rows) return std::unexpected(rows.error());
  rows->bind(1, now.time_since_epoch().count());
  while (true) {
    const auto step = rows->step();
    if (!step) return std::unexpected(step.error());
    if (*step == Statement::Step::done) return {};
    const Lockout::Block block{rows->text(0), policy::parse_network(rows->text(1)),
                               WallTime(std::chrono::seconds(rows->number(2)))};
    if (!block.network && !rows->text(1).empty()) {
      odd_rows_ = true;
      return std::unexpected("bad network " + rows->text(1) + " of a block");
    }
    lockout_->restore(block, now);
  }
}

void SqliteStore::run() {
  std::unique_lock lock(mutex_);
  while (!stop_requested_.wait_for(lock, options_.interval, [this] { return stopping_; })) {
    lock.unlock();
    try {
      flush();
    } catch (const std::exception& error) {  // no memory: the next time again
      if (options_.on_error) options_.on_error(error.what());
    }
    lock.lock();
  }
}

bool SqliteStore::flush() {
  const std::lock_guard lock(database_mutex_);
  const Batch batch = take();
  auto done = batch.empty() ? std::expected<void, std::string>{} : write(batch);
  if (!done) {
    give_back(batch);
  } else if (const WallTime now = options_.clock();
             now >= next_cleaning_ || next_cleaning_ > now + cleaning_interval) {  // the clock was ahead
    counters_.forget_expired(options_.clock());
    done = forget_expired();
    if (done) done = forget_evicted();
    next_cleaning_ = options_.clock() + cleaning_interval;
  }
  if (!done && options_.on_error) options_.on_error(done.error());
  return done.has_value();
}

SqliteStore::Batch SqliteStore::take() {
  Batch batch;
  batch.counters = counters_.take_changed();
  if (lockout_ == nullptr) return batch;
  batch.logins = lockout_->known_networks().take_changed();
  batch.blocks = lockout_->take_new_blocks(options_.clock());
  return batch;
}

// For the next time.
void SqliteStore::give_back(const Batch& batch) {
  for (const auto& record : batch.counters) counters_.mark_changed(record);
  if (lockout_ == nullptr) return;
  for (const auto& record : batch.logins) lockout_->known_networks().mark_changed(record);
  for (const auto& block : batch.blocks) lockout_->mark_new(block);
}

std::expected<void, std::string> SqliteStore::write(const Batch& batch) {
  const auto rows = [&]() -> std::expected<void, std::string> {
    auto counter = database_.prepare("INSERT OR REPLACE INTO counters VALUES (?, ?, ?, ?, ?, ?)");
    auto forget = database_.prepare("DELETE FROM known_networks WHERE login = ?");
    auto network = database_.prepare("INSERT OR REPLACE INTO known_networks VALUES (?, ?, ?)");
    auto block = database_.prepare("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)");
    for (const auto* prepared : {&counter, &forget, &network, &block}) {
      if (!*prepared) return std::unexpected(prepared->error());
    }
    for (const auto& record : batch.counters) {
      counter->bind(1, record.limit).bind(2, record.key).bind(3, std::int64_t{record.period_seconds});
      counter->bind(4, record.window.newest_slot)
          .bind(5, write_amounts(record.window))
          .bind(6, expiry(record));
      if (auto done = finish(*counter); !done) return done;
    }
    for (const auto& record : batch.logins) {
      forget->bind(1, record.login);
      if (auto done = finish(*forget); !done) return done;
      for (const auto& seen : record.networks) {
        network->bind(1, record.login).bind(2, to_string(seen.network)).bind(3, std::int64_t{seen.day});
        if (auto done = finish(*network); !done) return done;
      }
    }
    for (const auto& begun : batch.blocks) {
      block->bind(1, begun.login).bind(2, begun.network ? to_string(*begun.network) : "");
      block->bind(3, std::int64_t{begun.until.time_since_epoch().count()});
      if (auto done = finish(*block); !done) return done;
    }
    return {};
  };
  if (auto begun = database_.run("BEGIN"); !begun) return begun;
  auto done = rows();
  if (done) done = database_.run("COMMIT");
  if (!done) database_.roll_back();
  return done;
}

std::expected<void, std::string> SqliteStore::forget_expired() {
  for (const char* statement :
       {"DELETE FROM counters WHERE expires <= ?", "DELETE FROM blocks WHERE until <= ?"}) {
    auto expired = database_.prepare(statement);
    if (!expired) return std::unexpected(expired.error());
    expired->bind(1, options_.clock().time_since_epoch().count());
    if (auto done = finish(*expired); !done) return done;
  }
  return {};
}

// Keys that memory had no room for. Who makes up keys must neither fill the disk nor, at the next start, have
// these take the place of keys in use.
std::expected<void, std::string> SqliteStore::forget_evicted() {
  const auto rows = database_.number("SELECT count(*) FROM counters");
  if (!rows) return std::unexpected(rows.error());
  if (static_cast<std::uint64_t>(*rows) <= counters_.keys()) return {};
  auto some = database_.prepare(
      "SELECT limit_name, key, period_seconds FROM counters WHERE (limit_name, key, period_seconds) > (?, ?, "
      "?) "
      "ORDER BY limit_name, key, period_seconds LIMIT 1000");
  auto forget =
      database_.prepare("DELETE FROM counters WHERE limit_name = ? AND key = ? AND period_seconds = ?");
  for (const auto* prepared : {&some, &forget}) {
    if (!*prepared) return std::unexpected(prepared->error());
  }
  struct Row {
    std::string limit, key;
    std::int64_t period = 0;
  };
  if (auto begun = database_.run("BEGIN"); !begun) return begun;
  const auto all = [&]() -> std::expected<void, std::string> {
    for (std::vector<Row> read(1); !read.empty();) {
      const Row last = std::move(read.back());
      read.clear();
      some->bind(1, last.limit).bind(2, last.key).bind(3, last.period);
      while (true) {
        const auto step = some->step();
        if (!step) return std::unexpected(step.error());
        if (*step == Statement::Step::done) break;
        read.push_back({some->text(0), some->text(1), some->number(2)});
      }
      for (const Row& row : read) {
        if (counters_.remembers(row.limit, static_cast<std::uint32_t>(row.period), row.key)) continue;
        forget->bind(1, row.limit).bind(2, row.key).bind(3, row.period);
        if (auto done = finish(*forget); !done) return done;
      }
    }
    return {};
  };
  auto done = all();
  if (done) done = database_.run("COMMIT");
  if (!done) database_.roll_back();
  return done;
}

}  // namespace portcullis::state
