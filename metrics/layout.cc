#include "metrics/layout.h"

#include <algorithm>

namespace portcullis::metrics {
namespace {

constexpr std::size_t slot(Dim dim) {
  return static_cast<std::size_t>(dim) - static_cast<std::size_t>(Dim::listener);
}

// Room for names of later reloads.
std::size_t room_for(std::size_t configured) { return std::max<std::size_t>(16, 2 * configured); }

// What our own conversation can answer, so that the first refusal is an increase from 0 and not a
// series that begins at 1, which rate() can not see.
struct Plausible {
  ReplyVerb verb;
  std::array<std::uint16_t, 10> codes;
};
constexpr Plausible plausible_replies[] = {
    {ReplyVerb::greeting, {220, 421, 554}},
    {ReplyVerb::ehlo, {250, 501, 503}},
    {ReplyVerb::helo, {250, 501, 503}},
    {ReplyVerb::starttls, {220, 454, 501, 502, 503}},
    {ReplyVerb::auth, {235, 334, 454, 501, 503, 504, 525, 530, 534, 535}},
    {ReplyVerb::mail, {250, 451, 452, 501, 503, 530, 550, 552, 553, 555}},
    {ReplyVerb::rcpt, {250, 450, 451, 452, 501, 503, 550, 553, 554, 555}},
    {ReplyVerb::data, {354, 451, 503, 550, 554}},
    {ReplyVerb::bdat, {250, 451, 452, 501, 503, 550, 552, 554}},
    {ReplyVerb::end_of_data, {250, 450, 451, 452, 550, 552, 554}},
    {ReplyVerb::rset, {250, 501}},
    {ReplyVerb::noop, {250}},
    {ReplyVerb::vrfy, {252, 502}},
    {ReplyVerb::expn, {502}},
    {ReplyVerb::help, {214}},
    {ReplyVerb::quit, {221}},
    {ReplyVerb::xclient, {220, 501, 503, 550}},
    {ReplyVerb::xforward, {250, 501, 503, 550}},
    {ReplyVerb::http, {421, 521}},
    {ReplyVerb::other, {421, 500}},
    {ReplyVerb::unasked, {421}},
};

}  // namespace

std::string_view label_name(Dim dim) {
  switch (dim) {
    case Dim::none:
      return "";
    case Dim::listener:
      return "listener";
    case Dim::rule:
      return "rule";
    case Dim::limit:
      return "limit";
    case Dim::upstream:
      return "upstream";
    case Dim::server:
      return "server";  // after "upstream"
    case Dim::certificate:
      return "certificate";
    case Dim::loop:
      return "loop";
    case Dim::proxy_version:
      return "version";
    case Dim::build:
      return "revision";  // after "version"
    case Dim::direction:
      return "direction";
    case Dim::verb:
    case Dim::reply_verb:
    case Dim::upstream_verb:
      return "verb";
    case Dim::reply_code:
    case Dim::http_code:
      return "code";
    case Dim::code_class:
      return "code_class";
    case Dim::violation:
      return "type";
    case Dim::connection_reject:
    case Dim::close_reason:
    case Dim::not_asked:
    case Dim::tls_failure:
    case Dim::reclaim_reason:
    case Dim::failover_reason:
      return "reason";
    case Dim::tls_side:
      return "side";
    case Dim::proxy_result:
    case Dim::outcome:
    case Dim::auth_result:
    case Dim::backend_result:
    case Dim::cache_result:
    case Dim::message_result:
    case Dim::recipient_result:
    case Dim::connect_result:
      return "result";
    case Dim::tls_version:
      return "version";
    case Dim::mechanism:
      return "mechanism";
    case Dim::backend:
      return "backend";
    case Dim::auth_scope:
      return "scope";
    case Dim::stage:
      return "stage";
    case Dim::action:
      return "action";
    case Dim::mode:
      return "mode";
    case Dim::spoof_check:
      return "check";
    case Dim::rate_unit:
      return "unit";
    case Dim::store_op:
      return "op";
    case Dim::phase:
      return "phase";
    case Dim::connection_state:
      return "state";
    case Dim::capability:
      return "capability";
    case Dim::sink:
      return "sink";
    case Dim::route:
      return "route";
    case Dim::buffer_kind:
      return "kind";
  }
  return "";
}

Layout::Layout(const LabelValues& values) {
  names_[slot(Dim::listener)].room = room_for(values.listeners.size());
  names_[slot(Dim::rule)].room = room_for(values.rules.size());
  names_[slot(Dim::limit)].room = room_for(values.limits.size());
  names_[slot(Dim::upstream)].room = room_for(values.upstreams.size());
  names_[slot(Dim::server)].room = room_for(values.servers.size());
  names_[slot(Dim::certificate)].room = room_for(values.certificates.size());
  names_[slot(Dim::loop)].room = room_for(values.loops.size());
  names_[slot(Dim::build)].room = 1;

  for (std::size_t i = 0; i < metric_count; ++i) {
    const Row& row = catalogue[i];
    std::size_t& used = row.in_levels() ? level_cells_ : shard_cells_;
    bases_[i] = static_cast<std::uint32_t>(used);
    // One more than the room: "other".
    const std::size_t values_of_first = row.configured() ? names_[slot(row.dims[0])].room + 1 : 1;
    used += values_of_first * row.series_per_value() * row.cells_per_series();
  }
  announced_ = std::make_unique<std::atomic<bool>[]>(shard_cells_);

  for (const auto& name : values.listeners) index_of(Dim::listener, name);
  for (const auto& name : values.rules) index_of(Dim::rule, name);
  for (const auto& name : values.limits) index_of(Dim::limit, name);
  for (const auto& name : values.upstreams) index_of(Dim::upstream, name);
  for (const auto& name : values.certificates) index_of(Dim::certificate, name);
  for (const auto& name : values.loops) index_of(Dim::loop, name);
  for (const auto& [upstream, server] : values.servers) index_of_server(upstream, server);
  intern(Dim::build, {values.version, values.revision});
  for (const Route route : {Route::metrics, Route::healthz, Route::readyz})
    announce<Metric::admin_requests>(route, http_code_index(200));
  announce<Metric::admin_requests>(Route::readyz, http_code_index(503));
}

std::uint16_t Layout::index_of(Dim dim, std::string_view name) {
  const std::uint16_t index = intern(dim, {std::string(name)});
  if (dim == Dim::listener) announce_replies(index);
  return index;
}

std::uint16_t Layout::index_of_server(std::string_view upstream, std::string_view server) {
  return intern(Dim::server, {std::string(upstream), std::string(server)});
}

std::uint16_t Layout::intern(Dim dim, std::vector<std::string> name) {
  const std::scoped_lock lock(mutex_);
  Names& names = names_[slot(dim)];
  const auto index_of = [&] {
    return static_cast<std::uint16_t>(std::find(names.values.begin(), names.values.end(), name) -
                                      names.values.begin());
  };
  std::uint16_t index = index_of();
  if (index == names.values.size() && index >= names.room) {
    std::fill(name.begin(), name.end(), "other");
    index = index_of();  // two series of one name would spoil the whole scrape
  }
  if (index == names.values.size()) names.values.push_back(std::move(name));
  return index;
}

void Layout::announce_replies(std::uint16_t listener) {
  for (const auto& [verb, codes] : plausible_replies)
    for (const std::uint16_t code : codes)
      if (code != 0) announce<Metric::replies>(listener, verb, code_index(code));
}

std::vector<std::vector<std::string>> Layout::names(Dim dim) const {
  const std::scoped_lock lock(mutex_);
  return names_[slot(dim)].values;
}

}  // namespace portcullis::metrics
