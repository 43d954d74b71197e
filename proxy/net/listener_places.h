// Who may hold how many of the places for clients, over all workers: those of each listener
// (connections_max), and those of all listeners together, which the descriptors of the process bound.
// Listeners go by name: a reload renumbers them.
//
// One client network could take every place. Once half of the places are taken, a network is given another
// one only while it holds less than an eighth of the free ones: 16 networks that take what they can get leave
// a tenth of the places free, and each later network still gets its first one.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>

#include "policy/hash.h"
#include "policy/ip.h"

namespace portcullis::net {

class ListenerPlaces {
 public:
  enum class Answer { taken, listener_full, all_full };

  // The places of all listeners together; until it is called there is no bound.
  void set_most(std::size_t all);
  // A place for a connection of unknown origin. `most`: of this listener. `taken` owes a leave().
  Answer take(const std::string& listener, std::size_t most);
  void leave(const std::string& listener);

  // A place taken before, for a client of this network. False when the network holds its share already; true
  // owes a part().
  bool join(const std::string& listener, std::size_t most, const policy::IpNetwork& network);
  void part(const std::string& listener, const policy::IpNetwork& network);

  // Whether a network that holds `held` of `most` places, `taken` of them in use, may have one of the free
  // ones.
  static bool fair(std::size_t held, std::size_t taken, std::size_t most);

 private:
  struct Hash {
    std::size_t operator()(const policy::IpNetwork& network) const { return policy::keyed_hash(network); }
  };
  struct Places {
    std::size_t taken = 0;
    std::unordered_map<policy::IpNetwork, std::size_t, Hash> by_network;  // those with a place

    std::size_t held(const policy::IpNetwork& network) const;
    void remove(const policy::IpNetwork& network);
  };

  std::mutex mutex_;
  std::size_t most_ = static_cast<std::size_t>(-1);
  Places all_;
  std::map<std::string, Places> listeners_;
};

}  // namespace portcullis::net
