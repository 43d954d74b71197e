#include "tests/bench/load/result.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace portcullis::bench {

namespace {

// Nearest rank, in milliseconds.
double percentile_ms(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1] * 1000;
}

std::string latency(std::vector<double>& seconds) {
  std::sort(seconds.begin(), seconds.end());
  return fmt::format(R"({{"p50": {:.4f}, "p90": {:.4f}, "p99": {:.4f}, "max": {:.4f}}})",
                     percentile_ms(seconds, 0.5), percentile_ms(seconds, 0.9), percentile_ms(seconds, 0.99),
                     percentile_ms(seconds, 1));
}

}  // namespace

std::string to_json(Result result) {
  std::string errors;
  for (const auto& [what, count] : result.errors) {
    errors += fmt::format(R"({}"{}": {})", errors.empty() ? "" : ", ", what, count);
  }
  return fmt::format(R"({{"complete": {}, "seconds": {:.6f}, "sessions_ok": {}, "sessions_failed": {}, )"
                     R"("sessions_resumed": {}, "messages_planned": {}, "messages_acknowledged": {}, )"
                     R"("octets_sent": {}, "message_ms": {}, "session_ms": {}, "errors": {{{}}}}})"
                     "\n",
                     result.complete(), result.seconds, result.sessions_ok, result.sessions_failed,
                     result.sessions_resumed, result.messages_planned, result.messages_acknowledged,
                     result.octets_sent, latency(result.message_seconds), latency(result.session_seconds),
                     errors);
}

}  // namespace portcullis::bench
