#include "proxy/net/server_choice.h"

#include <utility>

namespace portcullis::net {

namespace {

constexpr std::int64_t rest_ms = 2'000;     // a server that failed is tried last for so long
constexpr std::int64_t steady_ms = 10'000;  // without a failure before others are left for it

}  // namespace

ServerChoice::ServerChoice(std::size_t servers, std::function<bool(std::size_t)> up)
    : up_(std::move(up)), servers_(servers) {}

void ServerChoice::failed(std::size_t server, std::int64_t now_ms) {
  servers_[server].rests_until_ms = now_ms + rest_ms;
}

bool ServerChoice::rests(std::size_t server, std::int64_t now_ms) const {
  return servers_[server].rests_until_ms > now_ms;
}

bool ServerChoice::usable(std::size_t server, std::int64_t now_ms) const {
  return !rests(server, now_ms) && up_(server);
}

bool ServerChoice::steady(std::size_t server, std::int64_t now_ms) const {
  const std::int64_t rested_until = servers_[server].rests_until_ms;
  return usable(server, now_ms) && (rested_until == 0 || rested_until - rest_ms + steady_ms <= now_ms);
}

std::size_t ServerChoice::next(std::size_t from, std::int64_t now_ms) const {
  for (std::size_t i = from; i < size(); ++i) {
    if (usable(i, now_ms)) return i;
  }
  for (std::size_t i = from; i < size(); ++i) {
    if (!rests(i, now_ms)) return i;
  }
  return from < size() ? from : size();
}

}  // namespace portcullis::net
