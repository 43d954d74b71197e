#include "proxy/state/sqlite_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>

namespace portcullis::state {
namespace {

using policy::CounterStore;
using policy::Lockout;
using policy::MemoryCounters;
using policy::WallTime;

WallTime today() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

CounterStore::Charge quota(std::uint64_t amount) {
  return {"per-user-day", "alice@example.com", amount, 500, 86400};
}

std::uint64_t used(const MemoryCounters& counters, std::string_view key = "alice@example.com") {
  auto charge = quota(0);
  charge.key = key;
  return counters.peek(charge, today())->used;
}

policy::LockoutRule guarded() {
  return {.failures_per_network = 4, .distinct_passwords_per_login = 2, .block_seconds = 600};
}

class SqliteStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "portcullis-state-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    path_ = directory_ / "state.db";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<SqliteStore> open(MemoryCounters& counters, Lockout* lockout = nullptr) {
    auto store = SqliteStore::open({.path = path_, .on_error = [this](const std::string&) { ++errors_; }},
                                   counters, lockout);
    EXPECT_TRUE(store.has_value()) << store.error();
    return store ? std::move(*store) : nullptr;
  }
  std::string open_error() {
    MemoryCounters counters(100);
    auto store = SqliteStore::open({.path = path_}, counters, nullptr);
    return store ? "opened" : store.error();
  }

  std::filesystem::path directory_, path_;
  std::atomic<int> errors_ = 0;
};

TEST_F(SqliteStoreTest, StoppingKeepsEverything) {
  {
    MemoryCounters counters(100);
    Lockout lockout(guarded());
    auto& known = lockout.known_networks();
    const auto store = open(counters, &lockout);
    ASSERT_TRUE(counters.charge(quota(7), today(), false)->within);
    ASSERT_TRUE(counters.charge(quota(5), today(), false)->within);
    counters.refund(quota(2), today(), today());
    known.add("alice", *policy::parse_network("192.0.2.1"), today());
    known.add("alice", *policy::parse_network("2001:db8::/64"), today());
  }
  struct stat status{};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  MemoryCounters counters(100);
  Lockout lockout(guarded());
  const auto& known = lockout.known_networks();
  const auto store = open(counters, &lockout);
  EXPECT_EQ(used(counters), 10U);
  EXPECT_TRUE(known.contains("alice", *policy::parse_network("192.0.2.1"), today()));
  EXPECT_TRUE(known.contains("alice", *policy::parse_network("2001:db8::/64"), today()));
  EXPECT_FALSE(known.contains("alice", *policy::parse_network("192.0.2.2"), today()));
  EXPECT_FALSE(known.contains("bob", *policy::parse_network("192.0.2.1"), today()));
  EXPECT_EQ(errors_, 0);
}

TEST_F(SqliteStoreTest, BlocksGoOnAfterARestart) {
  const auto office = *policy::parse_ip("192.0.2.1");
  const auto attacker = *policy::parse_ip("203.0.113.66");
  const auto elsewhere = *policy::parse_ip("198.51.100.1");
  const WallTime start = today();
  {
    MemoryCounters counters(100);
    Lockout lockout(guarded());
    const auto store = open(counters, &lockout);
    lockout.succeeded(office, "alice", start);
    for (std::uint64_t i = 0; i < 2; ++i) lockout.failed(office, "alice", i, start);  // there alone
    for (std::uint64_t i = 0; i < 2; ++i) lockout.failed(attacker, "bob", i, start);  // wherever unknown
    for (std::uint64_t i = 0; i < 4; ++i) lockout.failed(attacker, "carol" + std::to_string(i), i, start);
    lockout.failed(elsewhere, "dave", 1, start);  // leads to nothing
  }
  MemoryCounters counters(100);
  Lockout lockout(guarded());
  const auto store = open(counters, &lockout);
  EXPECT_EQ(lockout.blocked_logins(start), 2U);
  EXPECT_EQ(lockout.blocked_networks(start), 1U);
  EXPECT_EQ(lockout.before(office, "alice", start).blocked_by, Lockout::Scope::login);
  EXPECT_EQ(lockout.before(elsewhere, "alice", start).blocked_by, Lockout::Scope::none);
  EXPECT_EQ(lockout.before(elsewhere, "bob", start).blocked_by, Lockout::Scope::login);
  EXPECT_GT(lockout.before(elsewhere, "bob", start).retry_after_seconds, 590U);
  EXPECT_EQ(lockout.before(attacker, "erin", start).blocked_by, Lockout::Scope::network);
  EXPECT_EQ(lockout.before(elsewhere, "dave", start).delay_ms, 0U);
  EXPECT_EQ(lockout.before(attacker, "erin", start + std::chrono::seconds(601)).blocked_by,
            Lockout::Scope::none);
}

TEST_F(SqliteStoreTest, ABlockThatWasNotWrittenIsWrittenTheNextTime) {
  const auto attacker = *policy::parse_ip("203.0.113.66");
  Lockout lockout(guarded());
  for (std::uint64_t i = 0; i < 2; ++i) lockout.failed(attacker, "bob", i, today());
  const auto blocks = lockout.take_new_blocks(today());
  ASSERT_EQ(blocks.size(), 1U);
  EXPECT_TRUE(lockout.take_new_blocks(today()).empty());
  lockout.mark_new(blocks.front());
  EXPECT_EQ(lockout.take_new_blocks(today()).size(), 1U);
}

// With a rule that became milder a block ends earlier; with no rule there is none.
TEST_F(SqliteStoreTest, BlocksAreNoLongerThanTheRuleSays) {
  const Lockout::Block block{"bob", std::nullopt, today() + std::chrono::hours(100)};
  Lockout lockout(guarded());
  lockout.restore(block, today());
  EXPECT_LE(lockout.before(*policy::parse_ip("192.0.2.1"), "bob", today()).retry_after_seconds, 600U);
  EXPECT_EQ(lockout.blocked_logins(today()), 1U);
  auto rule = guarded();
  rule.mode = policy::Mode::off;
  Lockout off(rule);
  off.restore(block, today());
  EXPECT_EQ(off.blocked_logins(today()), 0U);
}

// A process that is killed while it charges loses at most its last second.
TEST_F(SqliteStoreTest, KillLosesAtMostASecond) {
  auto* charged = static_cast<std::atomic<std::uint64_t>*>(mmap(nullptr, sizeof(std::atomic<std::uint64_t>),
                                                                PROT_READ | PROT_WRITE,
                                                                MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(charged, MAP_FAILED);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    MemoryCounters counters(100);
    auto store = SqliteStore::open({.path = path_}, counters, nullptr);
    if (!store) _exit(1);
    while (true) {
      auto charge = quota(1);
      charge.capacity = 1'000'000'000;
      if (counters.charge(charge, today(), false)) charged->fetch_add(1);
      usleep(1000);
    }
  }
  while (charged->load() < 300) usleep(1000);
  const std::uint64_t a_second_before = charged->load();
  sleep(1);
  kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  MemoryCounters counters(100);
  const auto store = open(counters);
  EXPECT_GE(used(counters), a_second_before);
  EXPECT_LE(used(counters), charged->load() + 1);
  munmap(charged, sizeof(*charged));
}

TEST_F(SqliteStoreTest, ExpiredAndEvictedKeysAreForgotten) {
  {
    MemoryCounters counters(100);
    const auto store = open(counters);
    auto old = quota(3);
    old.key = "old";
    ASSERT_TRUE(counters.charge(old, today() - std::chrono::hours(48), false));
    ASSERT_TRUE(counters.charge(quota(3), today(), false));
    ASSERT_TRUE(store->flush());
  }
  MemoryCounters counters(100);
  const auto store = open(counters);
  EXPECT_EQ(counters.status("per-user-day").keys, 1U);
  EXPECT_EQ(used(counters), 3U);
}

// Keys are chosen by strangers: the file holds no more of them than memory does.
TEST_F(SqliteStoreTest, AFloodOfKeysDoesNotFillTheFile) {
  WallTime now = today();
  MemoryCounters counters(100);
  auto store = SqliteStore::open(
      {.path = path_, .interval = std::chrono::hours(1), .clock = [&] { return now; }}, counters, nullptr);
  ASSERT_TRUE(store.has_value()) << store.error();
  auto charge = quota(1);
  for (int i = 0; i < 5000; ++i) {
    const std::string key = "key" + std::to_string(i) + "@example.com";
    charge.key = key;
    ASSERT_TRUE(counters.charge(charge, now, false));
    if (i % 50 == 0) {
      ASSERT_TRUE((*store)->flush());
    }
  }
  ASSERT_TRUE(counters.charge(quota(7), now, false));
  ASSERT_TRUE((*store)->flush());
  now += std::chrono::minutes(11);
  ASSERT_TRUE((*store)->flush());
  store->reset();
  {
    auto file = Database::open(path_);
    ASSERT_TRUE(file.has_value()) << file.error().text;
    EXPECT_LE(file->number("SELECT count(*) FROM counters").value_or(-1), 100);
  }
  MemoryCounters again(100);
  const auto reopened = open(again);
  EXPECT_EQ(used(again), 7U);
  EXPECT_EQ(again.status("per-user-day").evictions, 0U);
}

// Whoever wrote the rows: numbers without end, and one network in two spellings.
TEST_F(SqliteStoreTest, OddRowsDoNoHarm) {
  const policy::IpAddress home = *policy::parse_ip("192.0.2.1");
  {
    MemoryCounters counters(100);
    open(counters);
    auto file = Database::open(path_);
    ASSERT_TRUE(file.has_value()) << file.error().text;
    for (const char* sql :
         {"INSERT INTO counters VALUES ('a', 'k', 60, 9223372036854775807, '1 0 0 0 0 0 0 0 0 0 0 0 0', "
          "9223372036854775807)",
          "INSERT INTO counters VALUES ('b', 'k', -1, -9223372036854775808, '1 0 0 0 0 0 0 0 0 0 0 0 0', "
          "9223372036854775807)",
          "INSERT INTO known_networks VALUES ('alice', '192.0.2.1', 2147483647)",
          "INSERT INTO known_networks VALUES ('alice', '192.0.2.1/32', 2147483646)",
          "INSERT INTO blocks VALUES ('bob', '', 9223372036854775807)"}) {
      ASSERT_TRUE(file->run(sql).has_value()) << sql;
    }
  }
  MemoryCounters counters(100);
  Lockout lockout(guarded());
  const auto store = open(counters, &lockout);
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(counters.status("a").keys + counters.status("b").keys, 0U);
  EXPECT_EQ(lockout.before(home, "bob", today()).retry_after_seconds, 600U);
  lockout.succeeded(home, "alice", today());
  ASSERT_TRUE(counters.charge(quota(1), today(), false));
  EXPECT_TRUE(store->flush());
  EXPECT_EQ(errors_, 0);
}

TEST_F(SqliteStoreTest, SaysWhatIsWrongWithTheFile) {
  path_ = directory_ / "missing" / "state.db";
  EXPECT_THAT(open_error(), testing::HasSubstr("No such file or directory"));
  path_ = directory_;
  EXPECT_THAT(open_error(), testing::HasSubstr("can not open the state file"));
}

// What is in the file cannot be read: it is kept under another name, and mail goes on.
class DamagedFile : public SqliteStoreTest, public testing::WithParamInterface<std::string> {};

TEST_P(DamagedFile, IsMovedAsideAndANewOneBegun) {
  {
    MemoryCounters counters(10000);
    const auto store = open(counters);
    for (int i = 0; i < 2000; ++i) {
      const std::string key = "user" + std::to_string(i) + "@example.com";
      auto charge = quota(1);
      charge.key = key;
      ASSERT_TRUE(counters.charge(charge, today(), false));
    }
  }
  const auto size = std::filesystem::file_size(path_);
  ASSERT_GT(size, 65536U);
  if (GetParam() == "rows") {
    auto file = Database::open(path_);
    ASSERT_TRUE(file && file->run("UPDATE counters SET amounts = 'x' WHERE key LIKE 'user7%'"));
  } else if (GetParam() == "no_database") {
    std::ofstream(path_) << std::string(8192, 'x');
  } else if (GetParam() == "cut_short") {
    std::filesystem::resize_file(path_, size / 2 + 100);
  } else {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(GetParam() == "header" ? 0 : 8192);
    file << std::string(16384, '\x5a');
  }
  const auto count_files = [this] {
    return std::distance(std::filesystem::directory_iterator(directory_), {});
  };
  const auto before = count_files();
  MemoryCounters counters(100);
  const auto store = open(counters);
  ASSERT_NE(store, nullptr);
  EXPECT_THAT(store->damage(), testing::HasSubstr("it is now " + path_.string() + ".damaged-"));
  EXPECT_GE(count_files(), before + 1) << "the old file is kept";
  ASSERT_TRUE(counters.charge(quota(3), today(), false));
  EXPECT_TRUE(store->flush());
  EXPECT_EQ(errors_, 0);
}

INSTANTIATE_TEST_SUITE_P(SqliteStoreTest, DamagedFile,
                         testing::Values("rows", "no_database", "cut_short", "header", "pages"),
                         [](const auto& tested) { return tested.param; });

TEST_F(SqliteStoreTest, AFileThatMayNotBeWrittenIsNotDamaged) {
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  const std::string error = open_error();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, old_handler);
  EXPECT_THAT(error, testing::HasSubstr("can not use the state file"));
  EXPECT_THAT(error, testing::Not(testing::HasSubstr("damaged")));
  const std::filesystem::path path(path_);
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path())) {
    EXPECT_EQ(entry.path().string().find(path.string() + ".damaged"), std::string::npos) << entry.path();
  }
}

TEST_F(SqliteStoreTest, RefusesOtherVersionsAndOtherPrograms) {
  {
    auto database = Database::open(path_);
    ASSERT_TRUE(database && database->run("CREATE TABLE other (x); "));
  }
  EXPECT_THAT(open_error(), testing::HasSubstr("another program"));
  std::filesystem::remove(path_);
  {
    auto database = Database::open(path_);
    ASSERT_TRUE(database && database->run("PRAGMA user_version = 99"));
  }
  EXPECT_THAT(open_error(), testing::HasSubstr("newer version"));
}

TEST_F(SqliteStoreTest, OneProcessAtATime) {
  MemoryCounters counters(100);
  const auto store = open(counters);
  EXPECT_THAT(open_error(), testing::HasSubstr("in use by another process"));
  EXPECT_TRUE(store->flush());
}

// A full disk, imitated by a limit on file sizes: errors are counted, memory decides on, and what
// could not be written is written when there is room again.
TEST_F(SqliteStoreTest, FullDiskDoesNotStopCounting) {
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  {
    MemoryCounters counters(100000);
    const auto store = open(counters);
    ASSERT_TRUE(counters.charge(quota(4), today(), false));
    ASSERT_TRUE(store->flush());
    rlimit tight = before;
    tight.rlim_cur = 64 * 1024;
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
    for (int i = 0; i < 5000; ++i) {
      const std::string key = "user" + std::to_string(i) + "@example.com";
      auto charge = quota(2);
      charge.key = key;
      ASSERT_TRUE(counters.charge(charge, today(), false)->within);
    }
    EXPECT_FALSE(store->flush());
    EXPECT_GE(errors_, 1);
    EXPECT_EQ(used(counters, "user4999@example.com"), 2U);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_TRUE(store->flush());
  }
  signal(SIGXFSZ, old_handler);
  MemoryCounters counters(100000);
  const auto store = open(counters);
  EXPECT_EQ(used(counters), 4U);
  for (const int i : {0, 1, 2500, 4999})
    EXPECT_EQ(used(counters, "user" + std::to_string(i) + "@example.com"), 2U);
}

}  // namespace
}  // namespace portcullis::state
