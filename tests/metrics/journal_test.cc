#include "metrics/journal.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "tests/metrics/journal_fixture.h"

namespace portcullis::metrics {
namespace {

using testing::HasSubstr;

TEST(JournalLine, Transaction) {
  EXPECT_EQ(
      rendered(full_transaction()),
      R"({"time":"2026-11-21T17:45:03.250Z","type":"transaction","id":"01JD.1","client":"192.0.2.7",)"
      R"("client_port":40404,"via":"192.0.2.1","listener":"submission","helo":"laptop",)"
      R"("tls_version":"TLSv1.3","tls_cipher":"TLS_AES_128_GCM_SHA256","tls_client_subject":"CN=alice",)"
      R"("login":"alice@example.com","mechanism":"PLAIN","backend":"ldap",)"
      R"("forwarded_client":"203.0.113.9","forwarded_helo":"desk","forwarded_id":"4F2A","result":"rejected",)"
      R"("reverse_path":"alice@example.com","recipients":[{"recipient":"bob@example.com","code":250,)"
      R"("reply":"2.1.5 ok"},{"recipient":"eve@example.com","code":550,"reply":"5.7.1 no",)"
      R"("rule":"lists"}],"recipients_total":2,"recipients_accepted":1,)"
      R"("header_from":"alice@example.com","message_id":"<1@example.com>","subject":"hello",)"
      R"("octets":1234,"attachments":1,"parts":3,"removed_fields":1,"hits":[{"rule":"lists","stage":"rcpt",)"
      R"("action":"reject","mode":"enforce"},{"rule":"identity","stage":"mail","action":"reject",)"
      R"("mode":"enforce","check":"envelope","identity":"boss@example.com"}],"rule":"identity","code":550,"reply":"5.7.1 not yours",)"
      R"("upstream":"legacy/10.0.0.5:25","upstream_code":250,"upstream_reply":"2.0.0 queued as 4XyZ",)"
      R"("queue_id":"4XyZ","duration_seconds":1.250000,"upstream_reply_seconds":0.062500})"
      "\n");
}

TEST(JournalLine, EmptyFieldsAreLeftOut) {
  EXPECT_EQ(rendered(TransactionRecord{}),
            R"({"time":"1970-01-01T00:00:00.000Z","type":"transaction","reverse_path":"",)"
            R"("recipients_total":0,"recipients_accepted":0,"octets":0,"attachments":0,"parts":0,)"
            R"("duration_seconds":0.000000,"upstream_reply_seconds":0.000000})"
            "\n");
  EXPECT_EQ(rendered(SessionRecord{}),
            R"({"time":"1970-01-01T00:00:00.000Z","type":"session","transactions":0,"messages_accepted":0,)"
            R"("octets_in":0,"octets_out":0,"commands":0,"auth_failures":0,"refusals_total":0,)"
            R"("duration_seconds":0.000000})"
            "\n");
  EXPECT_EQ(rendered(full_event()),
            R"({"time":"1970-01-01T00:00:00.000Z","type":"event","level":"warning","event":"upstream_down",)"
            R"("session":"01JD","fields":{"upstream":"legacy","server":"10.0.0.5:25"},)"
            R"("message":"Server 10.0.0.5:25 does not answer."})"
            "\n");
}

TEST(JournalLine, DurationsThatAreNoneAreLeftOut) {
  for (const double value :
       {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    SessionRecord record;
    record.duration_seconds = value;
    EXPECT_THAT(rendered(record), Not(HasSubstr("duration_seconds")));
  }
}

TEST(RecipientRecords, KeepTheFirstHundred) {
  RecipientRecords records;
  EXPECT_TRUE(records.empty());
  EXPECT_EQ(records.json(), "");
  std::string expected;
  for (int i = 0; i < 150; ++i) {
    const std::string recipient = std::to_string(i) + "@example.com";
    if (i < 100) {
      EXPECT_FALSE(records.full());
      if (i > 0) expected += ',';
      expected += R"({"recipient":")" + recipient + R"(","reply":"ok"})";
    }
    records.add(recipient, 0, {"", "ok"}, "");
  }
  EXPECT_FALSE(records.empty());
  EXPECT_TRUE(records.full());
  EXPECT_EQ(records.json(), expected);
}

TEST(RefusalRecords, KeepTheFirstFive) {
  RefusalRecords records;
  std::string expected;
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(records.full(), i >= 5);
    if (i < 5)
      expected += std::string(i > 0 ? "," : "") + R"({"command":"AUTH","code":535,"reply":"5.7.8 no"})";
    records.add("AUTH", 535, {"5.7.8", "no"});
  }
  EXPECT_EQ(records.json(), expected);
}

void collect_keys(const nlohmann::json& value, std::set<std::string>& keys) {
  if (value.is_array())
    for (const auto& item : value) collect_keys(item, keys);
  if (!value.is_object()) return;
  for (const auto& [key, member] : value.items()) {
    keys.insert(key);
    if (key != "fields") collect_keys(member, keys);
  }
}

// docs/journal.md has a row `| `field` | ...` for each field and for no other.
TEST(JournalDocs, ListEveryField) {
  std::set<std::string> written, documented;
  for (const std::string& line :
       {rendered(full_transaction()), rendered(full_session()), rendered(full_event())}) {
    const auto document = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(document.is_object()) << line;
    collect_keys(document, written);
  }
  std::ifstream docs(PORTCULLIS_SOURCE_DIR "/docs/journal.md");
  ASSERT_TRUE(docs);
  for (std::string line; std::getline(docs, line);) {
    if (!line.starts_with("| `")) continue;
    documented.insert(line.substr(3, line.find('`', 3) - 3));
  }
  EXPECT_EQ(documented, written);
}

TEST_F(JournalFile, HoldsWhatManyThreadsWrote) {
  constexpr int threads = 4, records = 500;
  Journal journal(settings());
  {
    std::vector<std::jthread> running;
    for (int t = 0; t < threads; ++t)
      running.emplace_back([&journal, t] {
        SessionRecord record = full_session();
        for (int i = 0; i < records; ++i) {
          const std::string id = std::to_string(t) + "-" + std::to_string(i);
          record.id = id;
          journal.write(record);
        }
      });
  }
  journal.flush();
  std::set<std::string> ids;
  for (const std::string& line : lines_of(settings().path)) {
    const auto document = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(document.is_object()) << line;
    ids.insert(document["id"].get<std::string>());
  }
  EXPECT_EQ(ids.size(), std::size_t{threads * records});
  EXPECT_EQ(journal.dropped(), 0u);
  struct stat status{};
  ASSERT_EQ(::stat(settings().path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0137, 0u);  // 0640 less the umask
}

TEST_F(JournalFile, FollowsARotation) {
  Journal journal(settings());
  journal.write(full_session());
  fs::rename(settings().path, directory_ / "journal.log.1");
  journal.reopen();
  journal.flush();
  journal.write(full_event());
  journal.flush();
  ASSERT_EQ(lines_of(directory_ / "journal.log.1").size(), 1u);
  ASSERT_EQ(lines_of(settings().path).size(), 1u);
  EXPECT_THAT(lines_of(settings().path)[0], HasSubstr("upstream_down"));
}

TEST_F(JournalFile, KeepsTheOldFileWhenTheNewCanNotBeOpened) {
  fs::create_directory(directory_ / "sub");
  JournalSettings there = settings();
  there.path = directory_ / "sub" / "journal.log";
  Journal journal(there);
  fs::rename(directory_ / "sub", directory_ / "moved");
  journal.reopen();
  journal.flush();
  journal.write(full_session());
  journal.flush();
  const auto lines = lines_of(directory_ / "moved" / "journal.log");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr("journal_not_reopened"));
  EXPECT_THAT(lines[0], HasSubstr("No such file"));
  EXPECT_THAT(lines[1], HasSubstr(R"("type":"session")"));
  EXPECT_EQ(journal.dropped(), 0u);
}

TEST_F(JournalFile, LeavesOutWhatWasNotAskedFor) {
  JournalSettings quiet = settings();
  quiet.level = EventRecord::Level::error;
  {
    Journal journal(quiet);
    journal.write(full_event());
    journal.write(full_transaction());
  }
  ASSERT_EQ(lines_of(quiet.path).size(), 1u);
  EXPECT_THAT(lines_of(quiet.path)[0], Not(HasSubstr("\"subject\"")));
  quiet.subject = true;
  {
    Journal(quiet).write(full_transaction());
  }
  EXPECT_THAT(lines_of(quiet.path)[1], HasSubstr(R"("subject":"hello")"));
}

TEST_F(JournalFile, CanNotBeOpened) {
  JournalSettings nowhere = settings();
  nowhere.path = directory_ / "no" / "such";
  EXPECT_THROW(Journal{nowhere}, std::runtime_error);
  nowhere.sink = JournalSettings::Sink::syslog;
  EXPECT_THROW(Journal{nowhere}, std::runtime_error);
  nowhere.path = std::string(200, 'x');
  EXPECT_THROW(Journal{nowhere}, std::runtime_error);
}

// /dev/full answers ENOSPC to every write.
TEST_F(JournalFile, CountsWhatAFullDiskLost) {
  JournalSettings full = settings();
  full.path = "/dev/full";
  Journal journal(full);
  for (int i = 0; i < 3; ++i) journal.write(full_session());
  journal.flush();
  EXPECT_EQ(journal.dropped(), 3u);
}

// Nobody reads the pipe: writers go on at once, the queue stays bounded, losses are counted, and when
// somebody reads again every line is whole.
TEST_F(JournalFile, ASlowSinkHoldsNobodyUp) {
  JournalSettings slow = settings();
  ASSERT_EQ(::mkfifo(slow.path.c_str(), 0600), 0);
  slow.queue_octets_max = 64 * 1024;
  const int reader = ::open(slow.path.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  constexpr std::size_t records = 2000;
  std::string read;
  {
    Journal journal(slow);
    const std::string line = rendered(full_session());
    for (std::size_t i = 0; i < records; ++i) journal.write(full_session());
    EXPECT_GT(journal.dropped(), 0u);
    // pipe (64 KiB), one batch in the writer, one queue
    EXPECT_GE(journal.dropped(), records - 3 * (64 * 1024 / line.size() + 1));
    std::jthread drain([&](const std::stop_token& stop) {
      char buffer[4096];
      for (;;) {
        const ssize_t n = ::read(reader, buffer, sizeof buffer);
        if (n > 0) {
          read.append(buffer, static_cast<std::size_t>(n));
        } else if (stop.stop_requested()) {
          return;
        } else {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
      }
    });
    journal.flush();
    const std::uint64_t dropped = journal.dropped();
    drain.request_stop();
    drain.join();
    std::istringstream lines(read);
    std::size_t whole = 0, told = 0;
    for (std::string each; std::getline(lines, each);) {
      if (each.find("journal_records_lost") != std::string::npos) {
        told += std::stoul(nlohmann::json::parse(each)["fields"]["records"].get<std::string>());
        continue;
      }
      ASSERT_EQ(each + '\n', line);
      ++whole;
    }
    EXPECT_EQ(whole, records - dropped);
    EXPECT_LE(told, dropped);
  }
  ::close(reader);
}

TEST_F(JournalFile, DoesNotWaitForAReader) {
  ASSERT_EQ(::mkfifo(settings().path.c_str(), 0600), 0);
  EXPECT_THROW(Journal{settings()}, std::runtime_error);
}

TEST_F(JournalFile, ALostReaderIsNoSignal) {
  const JournalSettings pipe = settings();
  ASSERT_EQ(::mkfifo(pipe.path.c_str(), 0600), 0);
  const int reader = ::open(pipe.path.c_str(), O_RDONLY | O_NONBLOCK);
  Journal journal(pipe);
  ::close(reader);
  journal.write(full_session());
  journal.flush();
  EXPECT_EQ(journal.dropped(), 1u);
}

// Stopping waits for a reader that takes nothing, but not for ever: not in the middle of a line either.
TEST_F(JournalFile, StopsThoughNobodyReadsThePipe) {
  const JournalSettings pipe = settings();
  ASSERT_EQ(::mkfifo(pipe.path.c_str(), 0600), 0);
  const int reader = ::open(pipe.path.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  // Were the end waited for, it would come when somebody reads after all.
  std::jthread late([reader](const std::stop_token& stop) {
    for (int i = 0; i < 300 && !stop.stop_requested(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    std::array<char, 65536> buffer;
    while (!stop.stop_requested()) {
      if (::read(reader, buffer.data(), buffer.size()) < 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  auto journal = std::make_unique<Journal>(pipe);
  TransactionRecord record = full_transaction();
  const std::string long_list = '"' + std::string(50'000, 'x') + '"';  // longer than what is written at once
  record.recipients = long_list;
  for (int i = 0; i < 4; ++i) {
    journal->write(record);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // more than one batch
  }
  const auto began = std::chrono::steady_clock::now();
  journal.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
  late.request_stop();
  late.join();
  ::close(reader);
}

TEST_F(JournalFile, StopsThoughSyslogTakesNothing) {
  JournalSettings syslog = settings();
  syslog.sink = JournalSettings::Sink::syslog;
  const int daemon = ::socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  syslog.path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(daemon, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  auto journal = std::make_unique<Journal>(syslog);
  for (int i = 0; i < 1000; ++i) journal->write(full_session());
  const auto began = std::chrono::steady_clock::now();
  journal.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
  ::close(daemon);
}

TEST_F(JournalFile, SyslogGetsOneDatagramARecord) {
  JournalSettings syslog = settings();
  syslog.sink = JournalSettings::Sink::syslog;
  syslog.path = directory_ / "log";
  const auto listen = [&] {
    const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    syslog.path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  };
  const auto receive = [](int fd) {
    char buffer[65536];
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    return n < 0 ? std::string("nothing") : std::string(buffer, static_cast<std::size_t>(n));
  };
  int daemon = listen();
  Journal journal(syslog);
  journal.write(full_session());
  journal.write(full_event());
  journal.flush();
  const std::string first = receive(daemon), second = receive(daemon);
  EXPECT_THAT(first, testing::MatchesRegex(
                         R"(<22>[A-Z][a-z]+ [ 0-9]+ [0-9]+:[0-9]+:[0-9]+ portcullis.[0-9]+.: \{"time".*\})"));
  EXPECT_THAT(second, testing::StartsWith("<20>"));

  // The daemon is restarted.
  ::close(daemon);
  fs::remove(syslog.path);
  daemon = listen();
  journal.write(full_session());
  journal.flush();
  EXPECT_THAT(receive(daemon), HasSubstr(R"("type":"session")"));
  EXPECT_EQ(journal.dropped(), 0u);

  ::close(daemon);
  fs::remove(syslog.path);
  journal.write(full_session());
  journal.flush();
  EXPECT_EQ(journal.dropped(), 1u);
}

}  // namespace
}  // namespace portcullis::metrics
