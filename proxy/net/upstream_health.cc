#include "proxy/net/upstream_health.h"

#include <algorithm>

namespace portcullis::net {

namespace {

smtp::Extensions common(const smtp::Extensions& a, const smtp::Extensions& b) {
  smtp::Extensions both = a;
  both.esmtp = a.esmtp && b.esmtp;
  both.eight_bit_mime = a.eight_bit_mime && b.eight_bit_mime;
  both.smtputf8 = a.smtputf8 && b.smtputf8;
  both.dsn = a.dsn && b.dsn;
  both.chunking = a.chunking && b.chunking;
  // 0 means "no limit told": the smaller of the limits that were told.
  const std::uint64_t left = a.size.value_or(0);
  const std::uint64_t right = b.size.value_or(0);
  both.size = left == 0 ? right : right == 0 ? left : std::min(left, right);
  return both;
}

}  // namespace

UpstreamHealth::UpstreamHealth(const std::vector<config::Upstream>& upstreams)
    : servers_(upstreams.size()), offers_(upstreams.size()) {
  for (std::size_t i = 0; i < upstreams.size(); ++i) servers_[i].resize(upstreams[i].servers.size());
}

void UpstreamHealth::report(std::size_t upstream, std::size_t server, Probed probed,
                            const smtp::Extensions& extensions, std::int64_t now_ms) {
  const std::lock_guard lock(mutex_);
  Server& entry = servers_[upstream][server];
  entry.up = probed.up;
  entry.text = std::move(probed.text);
  entry.standing.probed(probed.up, probed.slowest_ms, now_ms);
  count_passed_over();
  if (probed.up) {
    entry.known = true;
    entry.extensions = extensions;
  }
  session::UpstreamOffer offer;
  for (const Server& each : servers_[upstream]) {
    if (!each.up || !each.known) continue;
    offer.extensions = offer.known ? common(offer.extensions, each.extensions) : each.extensions;
    offer.known = true;
  }
  if (offer.known) offers_[upstream] = offer;
}

bool UpstreamHealth::suspect(std::size_t upstream, std::size_t server, std::int64_t now_ms) {
  const std::lock_guard lock(mutex_);
  ServerStanding& standing = servers_[upstream][server].standing;
  const bool news = !standing.passed_over();
  standing.suspect(now_ms);
  count_passed_over();
  return news;
}

bool UpstreamHealth::take_wish(std::size_t upstream, std::size_t server) {
  const std::lock_guard lock(mutex_);
  ServerStanding& standing = servers_[upstream][server].standing;
  const bool wanted = standing.wants_probe();
  standing.probe_started();
  return wanted;
}

void UpstreamHealth::probe_is_silent(std::size_t upstream, std::size_t server) {
  const std::lock_guard lock(mutex_);
  servers_[upstream][server].standing.probe_is_silent();
}

ServerView UpstreamHealth::view(std::size_t upstream, std::size_t server) const {
  const std::lock_guard lock(mutex_);
  const Server& entry = servers_[upstream][server];
  return {entry.up, entry.standing.passed_over(), entry.standing.hung()};
}

// Called with the lock held.
void UpstreamHealth::count_passed_over() {
  unsigned count = 0;
  for (const auto& servers : servers_) {
    for (const Server& server : servers) count += server.standing.passed_over() ? 1U : 0U;
  }
  passed_over_.store(count, std::memory_order_relaxed);
}

bool UpstreamHealth::up(std::size_t upstream, std::size_t server) const {
  const std::lock_guard lock(mutex_);
  return servers_[upstream][server].up;
}

bool UpstreamHealth::any_up(std::size_t upstream) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(servers_[upstream].begin(), servers_[upstream].end(),
                     [](const Server& s) { return s.up; });
}

std::string UpstreamHealth::text(std::size_t upstream, std::size_t server) const {
  const std::lock_guard lock(mutex_);
  return servers_[upstream][server].text;
}

session::UpstreamOffer UpstreamHealth::offer(std::size_t upstream) const {
  const std::lock_guard lock(mutex_);
  return offers_[upstream];
}

}  // namespace portcullis::net
