// Taking connections back for sessions that wait: gathers the facts for ReclaimPlan, and carries its plan
// out.
#include <algorithm>
#include <unordered_map>

#include "proxy/net/upstream_labels.h"
#include "proxy/net/upstream_pool.h"
#include "proxy/net/upstream_reclaim.h"

namespace portcullis::net {

namespace {

constexpr std::int64_t pause_ms = 50;  // under load sessions begin to wait all the time

// A session that was asked for its connection, or left one, has given it back by then unless its server is
// slow.
constexpr std::int64_t coming_back_ms = 250;

}  // namespace

// Connections that will serve a waiter shortly whatever is done here.
std::size_t UpstreamPool::coming_back() const {
  const std::int64_t recently = host_.mono_ms() - coming_back_ms;
  return static_cast<std::size_t>(
      std::count_if(connections_.begin(), connections_.end(), [&](const auto& connection) {
        if (connection->lost() || connection->idle) return false;
        if (!connection->opened()) return connection->opened_at_ms > recently;
        if (connection->client == nullptr) return connection->given_back_ms > recently;
        return connection->asked_back_ms > recently;
      }));
}

void UpstreamPool::reclaim() {
  const std::int64_t now = host_.mono_ms();
  if (shares_.waiting() == 0 || now < reclaimed_at_ms_ + pause_ms) return;
  reclaimed_at_ms_ = now;
  ReclaimPlan::Limits limits;
  limits.slow_ms = std::int64_t{settings_.slow_after_seconds} * 1000;
  limits.stalled_ms = std::int64_t{settings_.stalled_after_seconds} * 1000;
  ReclaimPlan plan(limits, now);

  std::unordered_map<const UpstreamShares::Party*, std::size_t> numbers;
  const auto number_of = [&](const UpstreamShares::Party* party) {
    const auto [at, added] = numbers.try_emplace(party, 0);
    if (added) at->second = plan.add_party(party->held);
    return at->second;
  };
  std::vector<UpstreamConnection*> held;
  for (const auto& connection : connections_) {
    if (connection->party == nullptr || connection->lost()) continue;
    ReclaimPlan::Holder holder;
    holder.party = number_of(connection->party);
    holder.has_session = connection->client != nullptr;
    holder.asked_for = connection->asked_back_ms > now - coming_back_ms;
    if (holder.has_session) {
      holder.hold = connection->client->upstream_hold();
    } else {
      holder.hold.since_ms = connection->given_back_ms;
    }
    plan.add_holder(holder);
    held.push_back(connection.get());
  }

  std::vector<const UpstreamShares::Waiter*> waiting;
  for (const UpstreamShares::Waiter& waiter : shares_.waiters()) {
    if (!waiter.promised) waiting.push_back(&waiter);
  }
  std::stable_sort(waiting.begin(), waiting.end(),
                   [](const auto* a, const auto* b) { return a->party->held < b->party->held; });
  const std::size_t free = free_places();
  const std::size_t coming = coming_back();
  for (std::size_t i = coming; i < std::min(waiting.size(), coming + held.size()); ++i) {
    const bool capped = !shares_.may_take(*waiting[i]->party, free + 1);
    plan.take_for(number_of(waiting[i]->party), waiting[i]->since_ms, capped);
  }
  for (const Reclaim& reclaim : plan.chosen()) take_back(*held[reclaim.holder], reclaim.reason);
}

void UpstreamPool::take_back(UpstreamConnection& connection, ReclaimReason reason) {
  shard_.add<metrics::Metric::upstream_reclaims>(snapshot_.upstream_labels[upstream_],
                                                 reclaim_reason(reason));
  connection.asked_back_ms = host_.mono_ms();
  if (reason == ReclaimReason::unsettled) return abort(connection);
  host_.want_back_later(*connection.client, connection, reason != ReclaimReason::idle);
}

}  // namespace portcullis::net
