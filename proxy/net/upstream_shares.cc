#include "proxy/net/upstream_shares.h"

#include <algorithm>
#include <utility>

namespace portcullis::net {

bool UpstreamShares::may_take(const PartyKey& key, std::size_t free) const {
  const auto found = parties_.find(key.text);
  if (found != parties_.end()) return may_take(found->second, free);
  Party stranger;
  stranger.user = key.user;
  return may_take(stranger, free);
}

// `more`: connections that the party would hold besides those it has.
bool UpstreamShares::may_hold(const Party& party, std::size_t more, std::size_t free) const {
  std::size_t available = free;
  if (!party.user) {
    const std::size_t unused = limits_.for_users - std::min(limits_.for_users, held_by_users_);
    available -= std::min(available, unused);
  }
  // In proportion to what it holds: the first connection needs one that is free, and no more.
  const std::size_t held = party.held + more;
  const std::size_t left = (held * limits_.kept_free + limits_.connections_max - 1) / limits_.connections_max;
  return available > left;
}

UpstreamShares::Party& UpstreamShares::party(const PartyKey& key) {
  const auto [at, added] = parties_.try_emplace(key.text);
  if (added) {
    at->second.key = key.text;
    at->second.user = key.user;
  }
  return at->second;
}

void UpstreamShares::forget_if_empty(Party& party) {
  if (party.held == 0 && party.waiting == 0) parties_.erase(parties_.find(party.key));
}

UpstreamShares::Party* UpstreamShares::hold(const PartyKey& key) {
  Party& holder = party(key);
  ++holder.held;
  ++held_;
  if (holder.user) ++held_by_users_;
  return &holder;
}

void UpstreamShares::give_back(Party* party) {
  --party->held;
  --held_;
  if (party->user) --held_by_users_;
  forget_if_empty(*party);
}

// --- the queue ------------------------------------------------------------------------------------

std::optional<UpstreamShares::Waiter> UpstreamShares::wait(UpstreamBorrower& client, const PartyKey& key,
                                                           std::int64_t now_ms, bool promised) {
  Party& newcomer = party(key);
  ++newcomer.waiting;
  waiters_.push_back({&client, &newcomer, now_ms, promised});
  if (waiters_.size() <= limits_.waiting_max) return std::nullopt;
  // Of those with the most waiters the newest.
  auto last = waiters_.end() - 1;
  for (auto at = waiters_.end(); at-- != waiters_.begin();) {
    if (at->party->waiting > last->party->waiting) last = at;
  }
  return take_out(last);
}

UpstreamShares::Waiter UpstreamShares::take_out(std::deque<Waiter>::iterator at) {
  Waiter waiter = *at;
  waiters_.erase(at);
  Party& left = *std::exchange(waiter.party, nullptr);
  --left.waiting;
  forget_if_empty(left);
  return waiter;
}

std::optional<UpstreamShares::Waiter> UpstreamShares::next(std::size_t free) {
  auto best = waiters_.end();
  for (auto at = waiters_.begin(); at != waiters_.end(); ++at) {
    if (best != waiters_.end() && at->party->held >= best->party->held) continue;
    if (may_take(*at->party, free)) best = at;
  }
  if (best == waiters_.end()) return std::nullopt;
  return take_out(best);
}

std::optional<UpstreamShares::Waiter> UpstreamShares::longest(std::int64_t since_ms) {
  if (waiters_.empty() || waiters_.front().since_ms > since_ms) return std::nullopt;
  return take_out(waiters_.begin());
}

std::optional<UpstreamShares::Waiter> UpstreamShares::remove(const UpstreamBorrower& client) {
  const auto at =
      std::find_if(waiters_.begin(), waiters_.end(), [&](const Waiter& w) { return w.client == &client; });
  if (at == waiters_.end()) return std::nullopt;
  return take_out(at);
}

std::size_t UpstreamShares::servable(std::size_t free) const {
  std::size_t served = 0;
  for (const auto& [key, party] : parties_) {
    for (std::size_t more = 0; more < party.waiting && served < free; ++more, ++served) {
      if (!may_hold(party, more, free - served)) break;
    }
  }
  return served;
}

}  // namespace portcullis::net
