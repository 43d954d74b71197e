#include "metrics/event_repeats.h"

#include <algorithm>

namespace portcullis::metrics {

bool EventRepeats::admit(const EventRecord& record, Time now) {
  const std::lock_guard lock(mutex_);
  const auto found = causes_.find({record.event, record.cause});
  if (found == causes_.end()) {
    if (causes_.size() < causes_max) {
      causes_.emplace(std::pair(record.event, record.cause), Cause{now, 1, 0, record.level});
    }
    return true;
  }
  Cause& cause = found->second;
  if (cause.written < written_max) {
    ++cause.written;
    return true;
  }
  ++cause.repeated;
  cause.level = std::max(cause.level, record.level);
  return false;
}

std::vector<EventRecord> EventRepeats::take_due(Time now) {
  const std::lock_guard lock(mutex_);
  std::vector<EventRecord> sums;
  for (auto at = causes_.begin(); at != causes_.end();) {
    Cause& cause = at->second;
    if (now != Time::max() && now - cause.begin < window) {
      ++at;
    } else if (cause.repeated == 0) {
      at = causes_.erase(at);  // over, or a single event
    } else {
      const std::string times = std::to_string(cause.repeated);
      sums.push_back({std::chrono::system_clock::now(),
                      cause.level,
                      at->first.first,
                      {},
                      {{"cause", at->first.second}, {"repeated", times}},
                      "the event was repeated " + times + " times for the same cause"});
      cause.repeated = 0;
      cause.begin = now;
      ++at;
    }
  }
  return sums;
}

bool EventRepeats::any() const {
  const std::lock_guard lock(mutex_);
  return !causes_.empty();
}

}  // namespace portcullis::metrics
