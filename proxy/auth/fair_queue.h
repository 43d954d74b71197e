// Requests that wait for a worker, and which one is next. A worker may be held for seconds by one request
// (Dovecot answers a wrong password after two), so it is not enough to take turns: what one party may hold at
// a time is bounded too.
//
// Who could take all of it: one address (bounded by network), a rented /24 or /48 (by group), many guessers
// (as suspects together, and by the part kept for known clients), everybody against one login (by login).
//
//   queue.set_workers(8);
//   if (auto out = queue.push(claim, item, 256)) refuse(*out);   // the queue was full: may be `item` itself
//   while (auto taken = queue.take()) { … ; queue.done(taken->claim); }
//
// Of those that may go now, the next is: the best standing; of the group, then the network, served least
// recently; the one that came first. Each eighth turn begins with the fresh and each 32nd with the suspects,
// so that nobody waits for ever. Not thread-safe.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "policy/ip.h"

namespace portcullis::auth {

// What is known of a client that wants to log in.
enum class Standing : std::uint8_t {
  known,    // this login was used from this network before
  fresh,    // nothing is known
  suspect,  // this network gave wrong passwords a moment ago
};

struct Claim {
  policy::IpNetwork network;  // of the client: an IPv4 address, an IPv6 /64
  policy::IpNetwork group;    // around it: a /24, a /48
  std::string login;
  Standing standing = Standing::fresh;
};

template <typename Item>
class FairQueue {
 public:
  struct Taken {
    Claim claim;
    Item item;
  };

  void set_workers(std::size_t workers) { workers_ = std::max<std::size_t>(1, workers); }
  std::size_t size() const { return waiting_.size(); }

  // Returns what has to go because more than `waiting_max` would wait: the newest of the network that has
  // most in here, those with the worse standing first. That may be `item`.
  std::optional<Item> push(Claim claim, Item item, std::size_t waiting_max);
  // The next that may go now, if any; owes one done().
  std::optional<Taken> take();
  void done(const Claim& claim);
  // Takes out what `is_over` says.
  template <typename IsOver>
  std::vector<Item> remove_if(IsOver is_over);

 private:
  // What one network, group or login has in here.
  struct Tally {
    std::size_t waiting = 0;
    std::size_t running = 0;
    std::uint64_t served = 0;  // the turn in which it was served last
  };
  template <typename Key>
  using Tallies = std::map<Key, Tally>;
  struct Waiting {
    Claim claim;
    Item item;
    Tally* network;
    Tally* group;
    Tally* login;
  };
  using Place = typename std::list<Waiting>::iterator;
  static constexpr std::size_t tallies_max = 4096;

  static std::size_t rounded_up(std::size_t workers, std::size_t quarters) {
    return std::max<std::size_t>(1, (workers * quarters + 3) / 4);
  }
  bool may_go(const Waiting& waiting) const;
  std::array<std::uint8_t, 3> ranks() const;
  void unlink(Place place);
  static auto burden(const Waiting& waiting) {
    return std::tuple(waiting.claim.standing, waiting.network->waiting);
  }
  template <typename Key>
  static void forget_idle(Tallies<Key>& tallies);

  std::size_t workers_ = 1;
  std::uint64_t turn_ = 0;
  std::list<Waiting> waiting_;  // in the order in which they came
  Tallies<policy::IpNetwork> networks_, groups_;
  Tallies<std::string> logins_;
  std::size_t strangers_running_ = 0;  // all but known ones
  std::size_t suspects_running_ = 0;
};

template <typename Item>
bool FairQueue<Item>::may_go(const Waiting& waiting) const {
  // Known clients: three quarters of the workers for one network, an office behind one address.
  if (waiting.claim.standing == Standing::known) {
    return waiting.network->running < rounded_up(workers_, 3);
  }
  if (strangers_running_ >= workers_ - workers_ / 4) return false;  // a quarter is kept for known clients
  const std::size_t half = rounded_up(workers_, 2), quarter = std::max<std::size_t>(1, workers_ / 4);
  if (waiting.login->running >= quarter) return false;
  if (waiting.group->running >= half || waiting.network->running >= half) return false;
  if (waiting.claim.standing == Standing::fresh) return true;
  return suspects_running_ < half && waiting.network->running < quarter;
}

// By standing: the lower goes first.
template <typename Item>
std::array<std::uint8_t, 3> FairQueue<Item>::ranks() const {
  if (turn_ % 32 == 31) return {1, 2, 0};
  if (turn_ % 8 == 7) return {1, 0, 2};
  return {0, 1, 2};
}

template <typename Item>
std::optional<Item> FairQueue<Item>::push(Claim claim, Item item, std::size_t waiting_max) {
  if (networks_.size() + groups_.size() + logins_.size() > tallies_max + 3 * waiting_.size()) {
    forget_idle(networks_);
    forget_idle(groups_);
    forget_idle(logins_);
  }
  Tally& network = networks_[claim.network];
  Tally& group = groups_[claim.group];
  Tally& login = logins_[claim.login];
  waiting_.push_back({std::move(claim), std::move(item), &network, &group, &login});
  ++network.waiting;
  ++group.waiting;
  ++login.waiting;
  if (waiting_.size() <= waiting_max) return std::nullopt;
  Place worst = waiting_.begin();
  for (Place at = waiting_.begin(); at != waiting_.end(); ++at) {
    if (burden(*at) >= burden(*worst)) worst = at;
  }
  Item out = std::move(worst->item);
  unlink(worst);
  return out;
}

template <typename Item>
std::optional<typename FairQueue<Item>::Taken> FairQueue<Item>::take() {
  const auto ranks = this->ranks();
  const auto order = [&](const Waiting& waiting) {
    return std::tuple(ranks[static_cast<std::size_t>(waiting.claim.standing)], waiting.group->served,
                      waiting.network->served);
  };
  Place best = waiting_.end();
  for (Place at = waiting_.begin(); at != waiting_.end(); ++at) {
    if (may_go(*at) && (best == waiting_.end() || order(*at) < order(*best))) best = at;
  }
  if (best == waiting_.end()) return std::nullopt;
  ++turn_;
  best->network->served = best->group->served = turn_;
  ++best->network->running;
  // Known clients are bounded by their network alone: others on that group or login take nothing from them.
  if (best->claim.standing != Standing::known) {
    ++best->group->running;
    ++best->login->running;
    ++strangers_running_;
  }
  if (best->claim.standing == Standing::suspect) ++suspects_running_;
  Taken taken{best->claim, std::move(best->item)};
  unlink(best);
  return taken;
}

template <typename Item>
void FairQueue<Item>::done(const Claim& claim) {
  --networks_[claim.network].running;
  if (claim.standing != Standing::known) {
    --groups_[claim.group].running;
    --logins_[claim.login].running;
    --strangers_running_;
  }
  if (claim.standing == Standing::suspect) --suspects_running_;
}

template <typename Item>
template <typename IsOver>
std::vector<Item> FairQueue<Item>::remove_if(IsOver is_over) {
  std::vector<Item> out;
  for (Place at = waiting_.begin(); at != waiting_.end();) {
    const Place next = std::next(at);
    if (is_over(at->item)) {
      out.push_back(std::move(at->item));
      unlink(at);
    }
    at = next;
  }
  return out;
}

template <typename Item>
void FairQueue<Item>::unlink(Place place) {
  --place->network->waiting;
  --place->group->waiting;
  --place->login->waiting;
  waiting_.erase(place);
}

template <typename Item>
template <typename Key>
void FairQueue<Item>::forget_idle(Tallies<Key>& tallies) {
  std::erase_if(tallies,
                [](const auto& entry) { return entry.second.waiting == 0 && entry.second.running == 0; });
}

}  // namespace portcullis::auth
