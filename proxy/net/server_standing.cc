#include "proxy/net/server_standing.h"

#include <algorithm>

namespace portcullis::net {

void ServerStanding::suspect(std::int64_t now_ms) {
  if (suspected_) return;
  const bool relapse = penalty_ms_ != 0 && now_ms - came_back_ms_ <= relapse_ms;
  penalty_ms_ = relapse ? std::min(penalty_ms_ * 2, most_penalty_ms) : least_penalty_ms;
  until_ms_ = now_ms + penalty_ms_;
  suspected_ = wants_probe_ = true;
}

void ServerStanding::probed(bool up, std::int64_t slowest_ms, std::int64_t now_ms) {
  hung_ = suspected_ && !up;
  if (!up) return;
  if (!suspected_) {
    if (slowest_ms < slow_ms) return;
    suspect(now_ms);
    wants_probe_ = false;
    return;
  }
  if (slowest_ms > fast_ms || now_ms < until_ms_) return;
  suspected_ = false;
  came_back_ms_ = now_ms;
}

}  // namespace portcullis::net
