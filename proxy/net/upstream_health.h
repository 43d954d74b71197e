// What is known of each upstream server: up or down, passed over or not, and what it offers. Written by the
// probe and by pools that wait for a reply in vain, read by every worker.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/net/server_choice.h"
#include "proxy/net/server_standing.h"
#include "proxy/session/environment.h"

namespace portcullis::net {

class UpstreamHealth {
 public:
  explicit UpstreamHealth(const std::vector<config::Upstream>& upstreams);

  // A probe has ended.
  struct Probed {
    bool up = false;
    std::int64_t slowest_ms = 0;  // of the replies while it opened
    std::string text;
  };
  void report(std::size_t upstream, std::size_t server, Probed probed, const smtp::Extensions& extensions,
              std::int64_t now_ms);
  // From pools: the server does not reply, or slowly. True if that was not known.
  bool suspect(std::size_t upstream, std::size_t server, std::int64_t now_ms);
  // For the prober. take_wish(): whether a probe was asked for since the last one began.
  bool take_wish(std::size_t upstream, std::size_t server);
  void probe_is_silent(std::size_t upstream, std::size_t server);

  ServerView view(std::size_t upstream, std::size_t server) const;
  // Whether any server is passed over: without a lock, for every transaction.
  bool any_passed_over() const { return passed_over_.load(std::memory_order_relaxed) > 0; }
  bool up(std::size_t upstream, std::size_t server) const;
  bool any_up(std::size_t upstream) const;
  std::string text(std::size_t upstream, std::size_t server) const;
  // What every server that is up offers; while none is, what was known last.
  session::UpstreamOffer offer(std::size_t upstream) const;

 private:
  struct Server {
    bool up = false;
    bool known = false;
    ServerStanding standing;
    smtp::Extensions extensions;
    std::string text;
  };
  void count_passed_over();
  mutable std::mutex mutex_;
  std::atomic<unsigned> passed_over_{0};  // servers
  std::vector<std::vector<Server>> servers_;
  std::vector<session::UpstreamOffer> offers_;
};

}  // namespace portcullis::net
