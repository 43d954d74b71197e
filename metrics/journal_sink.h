// Where journal lines go: standard error, a file or the local syslog daemon. Used by the journal's
// writer thread only, which may block here.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "metrics/journal.h"

namespace portcullis::metrics {

class JournalSink {
 public:
  // Throws std::runtime_error when the sink can not be opened. Once `stopping` is true, a peer that
  // takes nothing is given up after stop_grace_seconds.
  JournalSink(const JournalSettings& settings, const std::atomic<bool>& stopping);
  ~JournalSink();
  JournalSink(const JournalSink&) = delete;
  JournalSink& operator=(const JournalSink&) = delete;

  static constexpr int stop_grace_seconds = 1;     // without progress
  static constexpr int stop_patience_seconds = 5;  // for all that is left together

  // Writes whole lines. Returns how many records were lost.
  std::uint64_t write(std::string_view lines);
  // Whether the lines go to systemd's journal, which takes a priority in front ("<6>", sd-daemon(3)).
  bool to_journald() const { return to_journald_; }
  // Opens the file anew (after logrotate) or connects to syslog again; keeps the old one on failure, and
  // says why in a sentence. Empty: done.
  std::string reopen();

 private:
  bool open(std::string& error);
  std::uint64_t write_stream(std::string_view lines);
  std::uint64_t write_datagrams(std::string_view lines);
  bool send_datagram(std::string_view line);
  bool wait_writable();
  void take_back(std::string_view written, std::int64_t size_before);
  bool out_of_patience();

  const JournalSettings& settings_;
  const std::atomic<bool>& stopping_;
  int fd_ = -1;
  bool regular_ = false;  // a file: never slow in a way poll could tell
  const bool to_journald_;
  bool torn_ = false;        // the last write ended inside a line
  int seconds_refused_ = 0;  // since the syslog daemon last took a record
  std::optional<std::chrono::steady_clock::time_point> last_progress_;  // since the stop
  std::optional<std::chrono::steady_clock::time_point> stopped_;
};

}  // namespace portcullis::metrics
