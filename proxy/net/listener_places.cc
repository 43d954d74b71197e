#include "proxy/net/listener_places.h"

namespace portcullis::net {

namespace {

// A listener with fewer places is for a device or two, which may have all of them.
constexpr std::size_t shared_from = 16;
constexpr std::size_t share = 8;

}  // namespace

bool ListenerPlaces::fair(std::size_t held, std::size_t taken, std::size_t most) {
  if (most < shared_from || taken < most / 2) return true;
  return taken < most && held * share < most - taken;
}

std::size_t ListenerPlaces::Places::held(const policy::IpNetwork& network) const {
  const auto found = by_network.find(network);
  return found == by_network.end() ? 0 : found->second;
}

void ListenerPlaces::Places::remove(const policy::IpNetwork& network) {
  const auto found = by_network.find(network);
  if (found != by_network.end() && --found->second == 0) by_network.erase(found);
}

void ListenerPlaces::set_most(std::size_t all) {
  const std::lock_guard lock(mutex_);
  most_ = all;
}

ListenerPlaces::Answer ListenerPlaces::take(const std::string& listener, std::size_t most) {
  const std::lock_guard lock(mutex_);
  Places& places = listeners_[listener];
  if (places.taken >= most) return Answer::listener_full;
  if (all_.taken >= most_) return Answer::all_full;
  ++places.taken;
  ++all_.taken;
  return Answer::taken;
}

void ListenerPlaces::leave(const std::string& listener) {
  const std::lock_guard lock(mutex_);
  --listeners_[listener].taken;
  --all_.taken;
}

bool ListenerPlaces::join(const std::string& listener, std::size_t most, const policy::IpNetwork& network) {
  const std::lock_guard lock(mutex_);
  Places& places = listeners_[listener];
  // The connection itself has its place already.
  if (!fair(all_.held(network), all_.taken - 1, most_) ||
      !fair(places.held(network), places.taken - 1, most)) {
    return false;
  }
  ++all_.by_network[network];
  ++places.by_network[network];
  return true;
}

void ListenerPlaces::part(const std::string& listener, const policy::IpNetwork& network) {
  const std::lock_guard lock(mutex_);
  all_.remove(network);
  listeners_[listener].remove(network);
}

}  // namespace portcullis::net
