// Where the journal's lines go: a disk that is full, systemd's journal, and what an outage repeats.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "metrics/event_repeats.h"
#include "tests/metrics/journal_fixture.h"

namespace portcullis::metrics {
namespace {

// A limit of the file's size stands for a disk that is full: a write goes through in part, then none does.
TEST_F(JournalFile, LeavesNoTornLineAndTellsWhatWasLost) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const std::string line = rendered(full_session());
  Journal journal(settings());
  journal.write(full_session());
  journal.flush();
  const rlimit small{line.size() * 3 + line.size() / 2, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  for (int i = 0; i < 10; ++i) {
    journal.write(full_session());
    journal.flush();
  }
  EXPECT_EQ(fs::file_size(settings().path), line.size() * 3) << "back to the last whole line";
  EXPECT_EQ(journal.dropped(), 8u);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  journal.write(full_session());
  journal.flush();
  journal.flush();  // the event that this one brought
  ::signal(SIGXFSZ, handler);
  const auto lines = lines_of(settings().path);
  ASSERT_EQ(lines.size(), 5u);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(lines[i] + '\n', line);
  const auto event = nlohmann::json::parse(lines[4], nullptr, false);
  ASSERT_TRUE(event.is_object()) << lines[4];
  EXPECT_EQ(event["event"], "journal_records_lost");
  EXPECT_EQ(event["fields"]["records"], "8");
}

// Under systemd standard error is the journal's stream, and each line begins with its priority.
TEST_F(JournalFile, PutsPrioritiesInFrontForSystemd) {
  const fs::path stream = directory_ / "stream";
  const int fd = ::open(stream.c_str(), O_CREAT | O_RDWR | O_APPEND, 0600);
  const int kept = ::dup(STDERR_FILENO);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::dup2(fd, STDERR_FILENO), STDERR_FILENO);
  struct stat status{};
  ASSERT_EQ(::fstat(fd, &status), 0);
  const std::string here = std::to_string(status.st_dev) + ':' + std::to_string(status.st_ino);
  for (const std::string& value : {here, std::string("1:1")}) {
    ::setenv("JOURNAL_STREAM", value.c_str(), 1);
    Journal journal(JournalSettings{});
    journal.write(full_session());
    EventRecord event = full_event();
    for (const auto level :
         {EventRecord::Level::info, EventRecord::Level::warning, EventRecord::Level::error}) {
      event.level = level;
      journal.write(event);
    }
    journal.flush();
  }
  ::unsetenv("JOURNAL_STREAM");
  ::dup2(kept, STDERR_FILENO);
  ::close(kept);
  ::close(fd);
  const auto lines = lines_of(stream);
  ASSERT_EQ(lines.size(), 8u);
  const char* const priorities[] = {"<6>{", "<6>{", "<4>{", "<3>{", "{", "{", "{", "{"};
  for (std::size_t i = 0; i < lines.size(); ++i) EXPECT_THAT(lines[i], testing::StartsWith(priorities[i]));
}

TEST_F(JournalFile, SumsUpWhatOneCauseRepeats) {
  EventRecord repeated = full_event();
  repeated.cause = "legacy: connect";
  {
    Journal journal(settings());
    for (int i = 0; i < 1000; ++i) {
      journal.write(repeated);
      journal.write(full_event());  // without a cause: each is written
    }
  }
  std::size_t written = 0, sums = 0;
  for (const std::string& line : lines_of(settings().path)) {
    const auto event = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(event.is_object());
    if (event["fields"].contains("repeated")) {
      EXPECT_EQ(event["event"], "upstream_down");
      EXPECT_EQ(event["level"], "warning");
      EXPECT_EQ(event["fields"]["cause"], "legacy: connect");
      EXPECT_EQ(event["fields"]["repeated"], std::to_string(1000 - EventRepeats::written_max));
      ++sums;
    } else {
      ++written;
    }
  }
  EXPECT_EQ(written, 1000 + EventRepeats::written_max);
  EXPECT_EQ(sums, 1u);
}

}  // namespace
}  // namespace portcullis::metrics
