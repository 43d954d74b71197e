#include "proxy/net/server_choice.h"

#include <algorithm>
#include <utility>

#include "proxy/net/server_standing.h"

namespace portcullis::net {

namespace {

constexpr std::int64_t rest_ms = 2'000;     // a server that failed is tried last for so long
constexpr std::int64_t steady_ms = 10'000;  // without a failure before others are left for it

}  // namespace

ServerChoice::ServerChoice(std::size_t servers, std::function<ServerView(std::size_t)> view)
    : view_(std::move(view)), servers_(servers) {}

void ServerChoice::failed(std::size_t server, std::int64_t now_ms) {
  servers_[server].rests_until_ms = now_ms + rest_ms;
}

bool ServerChoice::replied(std::size_t server, std::int64_t took_ms, std::int64_t now_ms) {
  unsigned& points = servers_[server].points;
  if (took_ms < ServerStanding::slow_ms) {
    if (points > 0) --points;
    return false;
  }
  points = std::min(points + 2, slow_points);
  if (points < slow_points || !has_other(server, now_ms)) return false;
  points = 0;
  return true;
}

bool ServerChoice::rests(std::size_t server, std::int64_t now_ms) const {
  return servers_[server].rests_until_ms > now_ms;
}

bool ServerChoice::usable(std::size_t server, std::int64_t now_ms) const {
  if (rests(server, now_ms)) return false;
  const ServerView view = view_(server);
  return view.up && !view.passed_over;
}

bool ServerChoice::steady(std::size_t server, std::int64_t now_ms) const {
  const std::int64_t rested_until = servers_[server].rests_until_ms;
  return usable(server, now_ms) && (rested_until == 0 || rested_until - rest_ms + steady_ms <= now_ms);
}

std::size_t ServerChoice::next(std::size_t from, std::int64_t now_ms) const {
  for (std::size_t i = from; i < size(); ++i) {
    if (usable(i, now_ms)) return i;
  }
  // Slow is better than not at all.
  for (std::size_t i = from; i < size(); ++i) {
    if (!rests(i, now_ms) && view_(i).up) return i;
  }
  for (std::size_t i = from; i < size(); ++i) {
    if (!rests(i, now_ms)) return i;
  }
  return from < size() ? from : size();
}

bool ServerChoice::has_other(std::size_t server, std::int64_t now_ms) const {
  for (std::size_t i = 0; i < size(); ++i) {
    if (i != server && usable(i, now_ms)) return true;
  }
  return false;
}

bool ServerChoice::avoided(std::size_t server, std::int64_t now_ms) const {
  return size() > 1 && view_(server).passed_over && has_other(server, now_ms);
}

ServerChoice::Silence ServerChoice::silent(std::size_t server, std::int64_t silent_ms,
                                           std::int64_t now_ms) const {
  if (silent_ms < silence_ms || !has_other(server, now_ms)) return Silence::wait;
  if (servers_[server].satisfied_ms + silence_ms <= now_ms) return Silence::suspect;
  return silent_ms < lone_silence_ms ? Silence::wait : Silence::move_on;
}

}  // namespace portcullis::net
