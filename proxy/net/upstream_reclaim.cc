#include "proxy/net/upstream_reclaim.h"

namespace portcullis::net {

using session::UpstreamUse;

std::size_t ReclaimPlan::add_party(std::size_t held) {
  parties_.push_back(held);
  return parties_.size() - 1;
}

void ReclaimPlan::take_for(std::size_t party, std::int64_t since_ms, bool capped) {
  std::optional<Reclaim> best;
  for (std::size_t i = 0; i < holders_.size(); ++i) {
    const Holder& holder = holders_[i];
    if (holder.asked_for || (capped && holder.party != party)) continue;
    const std::optional<ReclaimReason> reason = reason_to_take(holder, party, now_ms_ - since_ms);
    if (!reason) continue;
    if (best) {
      const Holder& other = holders_[best->holder];
      if (*reason > best->reason) continue;
      if (*reason == best->reason) {
        if (parties_[holder.party] < parties_[other.party]) continue;
        if (parties_[holder.party] == parties_[other.party] && holder.hold.since_ms >= other.hold.since_ms) {
          continue;
        }
      }
    }
    best = Reclaim{i, *reason};
  }
  if (!best) return;
  Holder& taken = holders_[best->holder];
  taken.asked_for = true;
  --parties_[taken.party];
  ++parties_[party];
  chosen_.push_back(*best);
}

std::optional<ReclaimReason> ReclaimPlan::reason_to_take(const Holder& holder, std::size_t for_party,
                                                         std::int64_t waited_ms) const {
  const session::UpstreamHold& hold = holder.hold;
  const std::int64_t so_long_ms = now_ms_ - hold.since_ms;
  const bool for_a_while = so_long_ms >= limits_.idle_ms;
  const std::int64_t slow_for_ms = now_ms_ - hold.pace_until_ms;
  if (!holder.has_session) {
    if (for_a_while) return ReclaimReason::unsettled;
    return std::nullopt;
  }
  if (hold.use == UpstreamUse::none || hold.use == UpstreamUse::ended) return std::nullopt;
  if (hold.use == UpstreamUse::idle) {
    if (for_a_while || slow_for_ms > 0) return ReclaimReason::idle;
    return std::nullopt;
  }
  if (waited_ms < limits_.patience_ms) return std::nullopt;
  if (hold.half_closed && for_a_while) return ReclaimReason::half_closed;
  const bool slow_client = hold.use == UpstreamUse::client_sends && slow_for_ms > 0;
  const bool slow_server = hold.use == UpstreamUse::server_answers && so_long_ms >= limits_.slow_ms;
  if (parties_[holder.party] >= parties_[for_party] + 2) {
    if (slow_client) return ReclaimReason::slow_client;
    if (slow_server) return ReclaimReason::slow_server;
  }
  if (slow_client && slow_for_ms >= limits_.stalled_ms) return ReclaimReason::stalled;
  return std::nullopt;
}

}  // namespace portcullis::net
