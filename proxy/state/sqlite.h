// The one door to SQLite: a database and its statements as values, errors as text. One thread at a
// time.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace portcullis::state {

class Database;

class Statement {
 public:
  // Parameters are numbered from 1, columns from 0. Texts are copied.
  Statement& bind(int parameter, std::string_view text);
  Statement& bind(int parameter, std::int64_t number);
  enum class Step : std::uint8_t { row, done };
  // Runs to the next row; after `done` the statement may be bound and run again.
  std::expected<Step, std::string> step();
  std::string text(int column) const;
  std::int64_t number(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(sqlite3* database, sqlite3_stmt* statement) : database_(database), statement_(statement) {}
  sqlite3* database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

class Database {
 public:
  struct Error {
    std::string text;  // what is wrong with the file
    bool damaged =
        false;  // what is in it cannot be read; a full disk or a missing permission is something else
  };
  // Opens or creates the file, readable by its owner only, and takes it for this process alone.
  static std::expected<Database, Error> open(const std::string& path);
  // Moves a file that nobody has open, with its log, to a name beside it that says when it was damaged.
  // Returns that name.
  static std::expected<std::string, std::string> set_aside(const std::string& path);

  std::expected<void, std::string> run(const char* sql);
  // Ends a transaction that failed. Where SQLite ended it itself this does nothing.
  void roll_back();
  std::expected<Statement, std::string> prepare(const char* sql);
  // Whether the last call that failed did so because of what is in the file.
  bool is_damaged() const;
  std::expected<std::int64_t, std::string> number(const char* sql);  // of one row and column

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  explicit Database(sqlite3* database) : database_(database) {}
  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace portcullis::state
