// Decides which server of an upstream a pool opens its next connection to, and whether a server that does not
// reply is to be left for another one. Pure: the pool reports what happened and passes the time in
// milliseconds of its loop.
//
// Servers are tried in order of preference. A server that is passed over (server_standing.h) gets a
// connection only when no other server is usable: however slow, it is better than none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace portcullis::net {

// What all workers and the prober know of a server.
struct ServerView {
  bool up = false;           // the last health probe succeeded
  bool passed_over = false;  // it does not reply, or slowly
  bool hung = false;         // nor does it reply to the probe
};

class ServerChoice {
 public:
  // Without a reply for so long, where another server may do better.
  static constexpr std::int64_t silence_ms = 2'000;
  // The same, while the server answers others: a recipient that is verified, a filter that is slow.
  static constexpr std::int64_t lone_silence_ms = 10'000;
  // A reply that takes ServerStanding::slow_ms counts 2, one that is faster takes 1 off.
  static constexpr unsigned slow_points = 8;

  ServerChoice(std::size_t servers, std::function<ServerView(std::size_t)> view);

  // An attempt to open a connection to the server failed.
  void failed(std::size_t server, std::int64_t now_ms);
  // The server replied to a command after `took_ms`. True: its replies are slow, and another server is there.
  bool replied(std::size_t server, std::int64_t took_ms, std::int64_t now_ms);
  // A connection to the server has every reply that it waited for.
  void satisfied(std::size_t server, std::int64_t now_ms) { servers_[server].satisfied_ms = now_ms; }

  // The first server at or after `from` to try; size() if there is none.
  std::size_t next(std::size_t from, std::int64_t now_ms) const;
  std::size_t size() const { return servers_.size(); }
  // The last probe succeeded, no attempt has failed a moment ago, and the server is not passed over.
  bool usable(std::size_t server, std::int64_t now_ms) const;
  // Usable for some time already: a server that is full accepts some connections and refuses others.
  bool steady(std::size_t server, std::int64_t now_ms) const;
  // An attempt failed a moment ago.
  bool rests(std::size_t server, std::int64_t now_ms) const;
  // Another server is usable.
  bool has_other(std::size_t server, std::int64_t now_ms) const;
  // Passed over, and another server is usable: connections to the server are given up.
  bool avoided(std::size_t server, std::int64_t now_ms) const;
  // After a reply was waited for in vain for `silent_ms`, and another server is usable: what to do.
  enum class Silence : std::uint8_t {
    wait,     // it is too early, or there is no other server
    move_on,  // this connection is to be given up, the server answers others
    suspect,  // the server is to be suspected: it has answered nobody
  };
  Silence silent(std::size_t server, std::int64_t silent_ms, std::int64_t now_ms) const;

 private:
  struct Server {
    std::int64_t rests_until_ms = 0;
    std::int64_t satisfied_ms = 0;
    unsigned points = 0;  // for slow replies
  };
  std::function<ServerView(std::size_t)> view_;
  std::vector<Server> servers_;
};

}  // namespace portcullis::net
