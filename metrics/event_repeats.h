// Sums up what one outage repeats: of events with the same name and cause the first few are written, then one
// event every window says how often they were repeated. Thread-safe.
//
// Causes are made of names in the configuration and of fixed words, never of what a peer sends, so their
// number has a bound. Beyond causes_max an event is written as if it had no cause: nothing is hidden by
// others.
//
//   if (repeats.admit(record, now)) write(record);
//   for (const EventRecord& sum : repeats.take_due(now)) write(sum);      // once a second
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "metrics/journal.h"

namespace portcullis::metrics {

class EventRepeats {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::uint32_t written_max = 3;  // of one cause, before repetitions are only counted
  static constexpr std::chrono::seconds window{10};
  static constexpr std::size_t causes_max = 256;

  // Whether this event is to be written.
  bool admit(const EventRecord& record, Time now);
  // The sums of the windows that have ended.
  std::vector<EventRecord> take_due(Time now);
  std::vector<EventRecord> take_all() { return take_due(Time::max()); }
  bool any() const;  // whether take_due() may have something later

 private:
  struct Cause {
    Time begin;  // of the window
    std::uint32_t written = 0;
    std::uint64_t repeated = 0;  // in the window, not written
    EventRecord::Level level = EventRecord::Level::info;
  };
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Cause> causes_;  // by event and cause
};

}  // namespace portcullis::metrics
