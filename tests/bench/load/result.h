// What a run of bench_load found out, and how it is printed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace portcullis::bench {

struct Result {
  std::uint64_t sessions_ok = 0;      // came to their end as planned
  std::uint64_t sessions_failed = 0;  // connection or handshake failed, unexpected reply, cut off
  std::uint64_t sessions_resumed = 0;
  std::uint64_t messages_acknowledged = 0;
  std::uint64_t messages_planned = 0;
  std::uint64_t octets_sent = 0;                // of acknowledged messages
  std::map<std::string, std::uint64_t> errors;  // by "step code": replies nobody hoped for, and losses
  std::vector<double> message_seconds;          // MAIL to the final reply
  std::vector<double> session_seconds;          // connect to the reply to QUIT
  double seconds = 0;

  bool complete() const {
    return sessions_failed == 0 && messages_acknowledged == messages_planned && errors.empty();
  }
};

// One JSON object and a line end.
std::string to_json(Result result);

}  // namespace portcullis::bench
