// Decides which server of an upstream a pool opens its next connection to. Pure: the pool reports what
// happened and passes the time in milliseconds of its loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace portcullis::net {

class ServerChoice {
 public:
  // `up`: whether the last health probe of a server succeeded.
  ServerChoice(std::size_t servers, std::function<bool(std::size_t)> up);

  // An attempt to open a connection to the server failed.
  void failed(std::size_t server, std::int64_t now_ms);

  // The first server at or after `from` to try; size() if there is none. Servers are tried in order of
  // preference; a server that is known to be down is tried only when nothing else is left.
  std::size_t next(std::size_t from, std::int64_t now_ms) const;
  std::size_t size() const { return servers_.size(); }
  // The last probe succeeded, and no attempt has failed a moment ago.
  bool usable(std::size_t server, std::int64_t now_ms) const;
  // Usable for some time already: a server that is full accepts some connections and refuses others.
  bool steady(std::size_t server, std::int64_t now_ms) const;
  // An attempt failed a moment ago.
  bool rests(std::size_t server, std::int64_t now_ms) const;

 private:
  struct Server {
    std::int64_t rests_until_ms = 0;
  };
  std::function<bool(std::size_t)> up_;
  std::vector<Server> servers_;
};

}  // namespace portcullis::net
