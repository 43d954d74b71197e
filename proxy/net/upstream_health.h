// What is known of each upstream server: up or down, and what it offers. Written by the probe, read by
// every worker when a session starts.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/session/environment.h"

namespace portcullis::net {

class UpstreamHealth {
 public:
  explicit UpstreamHealth(const std::vector<config::Upstream>& upstreams);

  void report(std::size_t upstream, std::size_t server, bool up, const smtp::Extensions& extensions,
              std::string text);
  bool up(std::size_t upstream, std::size_t server) const;
  bool any_up(std::size_t upstream) const;
  std::string text(std::size_t upstream, std::size_t server) const;
  // What every server that is up offers; while none is, what was known last.
  session::UpstreamOffer offer(std::size_t upstream) const;

 private:
  struct Server {
    bool up = false;
    bool known = false;
    smtp::Extensions extensions;
    std::string text;
  };
  mutable std::mutex mutex_;
  std::vector<std::vector<Server>> servers_;
  std::vector<session::UpstreamOffer> offers_;
};

}  // namespace portcullis::net
