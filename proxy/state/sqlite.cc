#include "proxy/state/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <system_error>

namespace portcullis::state {
namespace {

constexpr int busy_timeout_ms = 2000;  // a predecessor that is just stopping

std::string error_text(sqlite3* database) { return sqlite3_errmsg(database); }

// SQLite would create the file with the process's umask; logins and addresses are in it.
std::expected<void, Database::Error> create_private(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) {
    return std::unexpected(Database::Error{"can not open the state file " + path + ": " +
                                           std::generic_category().message(errno)});
  }
  ::close(file);
  return {};
}

Database::Error explain(const std::string& path, sqlite3* database) {
  switch (sqlite3_errcode(database)) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {"the state file " + path + " is in use by another process"};
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return {"the state file " + path + " is damaged or no state file (" + error_text(database) + ")", true};
    default:
      return {"can not use the state file " + path + ": " + error_text(database)};
  }
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
void Database::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

Statement& Statement::bind(int parameter, std::string_view text) {
  sqlite3_bind_text64(statement_.get(), parameter, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind(int parameter, std::int64_t number) {
  sqlite3_bind_int64(statement_.get(), parameter, number);
  return *this;
}

std::expected<Statement::Step, std::string> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return Step::row;
  const std::string error = code == SQLITE_DONE ? std::string() : error_text(database_);
  sqlite3_reset(statement_.get());
  if (code != SQLITE_DONE) return std::unexpected(error);
  return Step::done;
}

std::string Statement::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  if (text == nullptr) return {};
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

std::int64_t Statement::number(int column) const { return sqlite3_column_int64(statement_.get(), column); }

std::expected<Database, Database::Error> Database::open(const std::string& path) {
  if (auto created = create_private(path); !created) return std::unexpected(created.error());
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database(raw);
  if (code != SQLITE_OK) return std::unexpected(explain(path, raw));
  sqlite3_extended_result_codes(raw, 0);
  sqlite3_busy_timeout(raw, busy_timeout_ms);
  // The exclusive mode comes first: then no shared memory file is needed, and a second process finds
  // out at once. FULL makes a committed batch survive a power failure too.
  for (const char* sql : {"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL",
                          "PRAGMA synchronous = FULL", "BEGIN EXCLUSIVE", "COMMIT"}) {
    if (sqlite3_exec(raw, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
      return std::unexpected(explain(path, raw));
  }
  auto check = database.prepare("PRAGMA quick_check(1)");
  if (!check) return std::unexpected(explain(path, raw));
  const auto row = check->step();
  if (!row) return std::unexpected(explain(path, raw));
  if (check->text(0) != "ok") {
    return std::unexpected(Error{"the state file " + path + " is damaged (" + check->text(0) + ")", true});
  }
  return database;
}

bool Database::is_damaged() const {
  const int code = sqlite3_errcode(database_.get()) & 0xff;
  return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

std::expected<std::string, std::string> Database::set_aside(const std::string& path) {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  std::array<char, 32> stamp{};
  if (::gmtime_r(&now, &utc) == nullptr ||
      std::strftime(stamp.data(), stamp.size(), "%Y%m%dT%H%M%SZ", &utc) == 0) {
    return std::unexpected(std::string("no time"));
  }
  std::string aside = path + ".damaged-" + stamp.data();
  for (int i = 2; ::access(aside.c_str(), F_OK) == 0; ++i) {
    aside = path + ".damaged-" + stamp.data() + '-' + std::to_string(i);
  }
  // The log first: it must never be applied to the next file.
  for (const char* suffix : {"-wal", "-shm", ""}) {
    if (::rename((path + suffix).c_str(), (aside + suffix).c_str()) == 0) continue;
    if (errno == ENOENT && *suffix != '\0') continue;
    return std::unexpected("can not move " + path + suffix +
                           " away: " + std::generic_category().message(errno));
  }
  return aside;
}

std::expected<void, std::string> Database::run(const char* sql) {
  if (sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return std::unexpected(error_text(database_.get()));
}

void Database::roll_back() {
  if (sqlite3_get_autocommit(database_.get()) == 0) {
    sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

std::expected<Statement, std::string> Database::prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_.get(), sql, -1, &statement, nullptr) == SQLITE_OK) {
    return Statement(database_.get(), statement);
  }
  return std::unexpected(error_text(database_.get()));
}

std::expected<std::int64_t, std::string> Database::number(const char* sql) {
  auto statement = prepare(sql);
  if (!statement) return std::unexpected(statement.error());
  const auto step = statement->step();
  if (!step) return std::unexpected(step.error());
  return statement->number(0);
}

}  // namespace portcullis::state
