#include "proxy/net/upstream_pool.h"

#include <algorithm>
#include <utility>

#include "proxy/net/upstream_labels.h"

namespace portcullis::net {

using session::LinkFailure;

namespace {

constexpr std::int64_t clear_text_ms = 5 * 60 * 1000;  // opportunistic TLS failed: in the clear for so long
constexpr std::int64_t surplus_ms = 1'000;             // idle ones above idle_max are kept for so long
constexpr std::int64_t settle_ms = 10'000;             // for replies still owed by a connection given back

// Whether sessions that log in use this upstream.
bool logins_wait(const config::Config& config, const config::Upstream& upstream) {
  return std::any_of(config.listeners.begin(), config.listeners.end(), [&](const config::Listener& listener) {
    return listener.upstream == upstream.name && listener.auth != config::AuthMode::off;
  });
}

}  // namespace

UpstreamPool::UpstreamPool(LoopContext& context, const Snapshot& snapshot, std::size_t upstream,
                           metrics::Shard& shard, PoolHost& host)
    : context_(context),
      snapshot_(snapshot),
      upstream_(upstream),
      settings_(snapshot.config->upstreams[upstream]),
      shard_(shard),
      host_(host),
      shares_({settings_.connections_max,
               std::size_t{settings_.connections_max} * (100 - settings_.client_share_percent) / 100,
               logins_wait(*snapshot.config, settings_)
                   ? std::size_t{settings_.connections_max} * settings_.reserved_for_users / 100
                   : 0,
               settings_.waiting_max}),
      choice_(settings_.servers.size(),
              [this](std::size_t server) { return snapshot_.health->view(upstream_, server); }),
      clear_text_until_ms_(settings_.servers.size()) {}

UpstreamPool::~UpstreamPool() = default;

std::uint16_t UpstreamPool::server_label(const UpstreamConnection& connection) const {
  return snapshot_.server_labels[upstream_][connection.target().server];
}

void UpstreamPool::count_connect(const UpstreamConnection& connection, metrics::ConnectResult result) {
  shard_.add<metrics::Metric::upstream_connects>(server_label(connection), result);
}

// --- taking ---------------------------------------------------------------------------------------

UpstreamConnection* UpstreamPool::acquire(UpstreamBorrower& client) {
  const PartyKey key = client.party();
  bool promised = false;
  if (bound_to_client()) {
    if (UpstreamConnection* own = connection_of(client); own != nullptr) {
      const session::XClient now = client.xclient();
      const session::XClient& told = own->target().xclient;
      if (now.attributes != told.attributes || now.helo != told.helo) {
        // The XCLIENT attributes are stale (AUTH, EHLO or XCLIENT came after): it cannot be reused.
        own->bound = nullptr;
        if (own->idle) drop(*own);
      } else if (avoided(*own)) {
        own->bound = nullptr;
        if (own->idle) drop(*own);
      } else if (!own->idle) {
        promised = true;  // it still owes the reply to RSET
      } else {
        return take(*own, client, key);
      }
    }
  } else {
    while (!idle_.empty() && avoided(*idle_.back())) drop(*idle_.back());
    if (!idle_.empty() && (shares_.may_take(key, idle_.size()) || shares_.may_take(key, free_places()))) {
      return take(*idle_.back(), client, key);
    }
  }
  const auto left = shares_.wait(client, key, host_.mono_ms(), promised);
  shard_.up<metrics::Metric::upstream_waiting>(snapshot_.upstream_labels[upstream_]);
  if (left) deny(*left, LinkFailure::busy, "too many sessions wait for a connection");
  open_more();
  reclaim();
  return nullptr;
}

void UpstreamPool::count_waiting(std::size_t fewer) {
  shard_.down<metrics::Metric::upstream_waiting>(snapshot_.upstream_labels[upstream_], fewer);
}

// A session that was taken out of the queue.
void UpstreamPool::deny(const UpstreamShares::Waiter& waiter, LinkFailure failure, const std::string& text) {
  count_waiting(1);
  host_.deny_later(*waiter.client, failure, text);
}

// The open connection that is bound to this client, or null.
UpstreamConnection* UpstreamPool::connection_of(const UpstreamBorrower& client) {
  const auto found = std::find_if(connections_.begin(), connections_.end(), [&](const auto& connection) {
    return connection->bound == &client && connection->opened() && !connection->lost();
  });
  return found == connections_.end() ? nullptr : found->get();
}

// An idle connection becomes this client's.
UpstreamConnection* UpstreamPool::take(UpstreamConnection& connection, UpstreamBorrower& client,
                                       const PartyKey& key) {
  std::erase(idle_, &connection);
  connection.idle = false;
  shard_.down<metrics::Metric::upstream_connections>(server_label(connection),
                                                     metrics::ConnectionState::idle);
  shard_.up<metrics::Metric::upstream_connections>(server_label(connection),
                                                   metrics::ConnectionState::active);
  shard_.add<metrics::Metric::upstream_connection_reuses>(snapshot_.upstream_labels[upstream_]);
  attach(connection, client, key);
  return &connection;
}

void UpstreamPool::attach(UpstreamConnection& connection, UpstreamBorrower& client, const PartyKey& key) {
  connection.client = &client;
  connection.party = shares_.hold(key);
  connection.asked_back_ms = 0;
  connection.deadline_ms = 0;
  ++connection.transactions;
}

void UpstreamPool::cancel(UpstreamBorrower& client) {
  while (shares_.remove(client)) count_waiting(1);
  for (const auto& connection : connections_) {
    if (connection->bound == &client && !connection->opened()) connection->bound = nullptr;
  }
}

// --- opening --------------------------------------------------------------------------------------

// The connections that nobody holds, and those that can be opened besides.
std::size_t UpstreamPool::free_places() const {
  const std::size_t server = choice_.next(0, host_.mono_ms());
  std::size_t there = 0;
  std::size_t unheld = 0;
  for (const auto& connection : connections_) {
    if (connection->lost()) continue;
    if (connection->target().server == server) ++there;
    if (connection->party == nullptr) ++unheld;
  }
  return unheld + settings_.connections_max - std::min<std::size_t>(there, settings_.connections_max);
}

// Whether it may have one more connection.
bool UpstreamPool::has_room(std::size_t server) const {
  const auto there = std::count_if(connections_.begin(), connections_.end(), [&](const auto& connection) {
    return connection->target().server == server && !connection->lost();
  });
  return static_cast<std::size_t>(there) < settings_.connections_max;
}

// Whether a connection is in use that others may have next.
bool UpstreamPool::one_comes_back() const {
  return !bound_to_client() &&
         std::any_of(connections_.begin(), connections_.end(),
                     [](const auto& connection) { return connection->opened() && !connection->idle; });
}

// To the server that is preferred at the moment: while it is full, one is waited for.
void UpstreamPool::open_more() {
  if (bound_to_client()) return open_more_bound();
  while (opening_ < shares_.waiting()) {
    const std::size_t server = choice_.next(0, host_.mono_ms());
    if (!has_room(server)) return;
    // It has just refused one, but serves others: it may have a bound of its own.
    if (choice_.rests(server, host_.mono_ms()) && one_comes_back()) return;
    if (opening_ >= shares_.servable(free_places())) return;
    if (!start(server, {}, nullptr)) return;
  }
}

void UpstreamPool::open_more_bound() {
  for (std::size_t i = 0; i < shares_.waiting(); ++i) {
    UpstreamShares::Waiter& waiter = shares_.waiters()[i];
    if (waiter.promised || !shares_.may_take(*waiter.party, free_places())) continue;
    const std::size_t server = choice_.next(0, host_.mono_ms());
    if (!has_room(server)) {
      // A client that is between transactions can do without: it gets another one when it needs it.
      const auto spare = std::find_if(idle_.begin(), idle_.end(), [&](const UpstreamConnection* connection) {
        return connection->target().server == server;
      });
      if (spare == idle_.end()) return;
      remove(**spare);
    }
    waiter.promised = true;
    start(server, waiter.client->xclient(), waiter.client);
  }
}

bool UpstreamPool::start(std::size_t server, session::XClient xclient, UpstreamBorrower* bound) {
  if (server >= settings_.servers.size()) return false;
  UpstreamConnection::Target target;
  target.settings = &settings_;
  target.server = server;
  target.tls = snapshot_.client_tls[upstream_].get();
  target.use_tls = clear_text_until_ms_[server] <= host_.mono_ms();
  target.helo = settings_.helo.empty() ? snapshot_.config->hostname : settings_.helo;
  target.xclient = std::move(xclient);
  connections_.push_back(std::make_unique<UpstreamConnection>(context_, std::move(target), *this));
  UpstreamConnection& connection = *connections_.back();
  connection.bound = bound;
  connection.opened_at_ms = host_.mono_ms();
  connection.deadline_ms = host_.mono_ms() + std::int64_t{settings_.connect_timeout_seconds} * 1000;
  ++opening_;
  shard_.up<metrics::Metric::upstream_connections>(server_label(connection),
                                                   metrics::ConnectionState::active);
  connection.open();
  return true;
}

void UpstreamPool::on_opened(UpstreamConnection& connection) noexcept {
  if (!connection.stalled) --opening_;
  count_connect(connection, metrics::ConnectResult::success);
  shard_.observe<metrics::Metric::upstream_connect_duration>(
      snapshot_.upstream_labels[upstream_],
      static_cast<double>(host_.mono_ms() - connection.opened_at_ms) / 1000);
  connection.deadline_ms = 0;
  choice_.satisfied(connection.target().server, host_.mono_ms());
  if (avoided(connection)) return drop(connection);
  hand_over(connection);
}

void UpstreamPool::hand_over(UpstreamConnection& connection) {
  if (bound_to_client() && connection.bound == nullptr) return drop(connection);  // of no use to another
  const auto waiter = bound_to_client() ? shares_.remove(*connection.bound) : shares_.next(free_places());
  if (!waiter) return park(connection);
  count_waiting(1);
  UpstreamBorrower& client = *waiter->client;
  attach(connection, client, client.party());
  host_.grant_later(client, connection);
}

void UpstreamPool::park(UpstreamConnection& connection) {
  if (settings_.idle_max == 0) return drop(connection);
  connection.idle = true;
  connection.idle_since_ms = host_.mono_ms();
  connection.deadline_ms = 0;
  shard_.down<metrics::Metric::upstream_connections>(server_label(connection),
                                                     metrics::ConnectionState::active);
  shard_.up<metrics::Metric::upstream_connections>(server_label(connection), metrics::ConnectionState::idle);
  idle_.push_back(&connection);
  if (bound_to_client() && shares_.waiting() > 0) open_more();
}

// What a party gave back may let those wait no longer who have had their share.
void UpstreamPool::serve_idle() {
  while (!bound_to_client() && !idle_.empty()) {
    const auto waiter = shares_.next(free_places());
    if (!waiter) return;
    count_waiting(1);
    UpstreamConnection& connection = *take(*idle_.back(), *waiter->client, waiter->client->party());
    host_.grant_later(*waiter->client, connection);
  }
}

// Whether there is an open connection to a server that comes before this one's.
bool UpstreamPool::outdone(const UpstreamConnection& connection) const {
  const std::size_t server = connection.target().server;
  return server > 0 && !bound_to_client() &&
         std::any_of(connections_.begin(), connections_.end(), [&](const auto& other) {
           return other->target().server < server && other->opened() && !other->lost() &&
                  choice_.steady(other->target().server, host_.mono_ms());
         });
}

// After a failover: tries a server that is up again with one connection that nobody waits for; when that one
// stands, what is idle elsewhere goes. What is in use follows when it is given back.
void UpstreamPool::return_to_preferred() {
  if (bound_to_client() || connections_.empty()) return;
  const auto last =
      std::max_element(connections_.begin(), connections_.end(),
                       [](const auto& a, const auto& b) { return a->target().server < b->target().server; });
  if ((*last)->target().server == 0) return;
  const std::size_t best = choice_.next(0, host_.mono_ms());
  if (best >= (*last)->target().server || !choice_.steady(best, host_.mono_ms())) return;
  const bool tried = std::any_of(connections_.begin(), connections_.end(),
                                 [&](const auto& connection) { return connection->target().server == best; });
  if (!tried && settings_.idle_max > 0) start(best, {}, nullptr);
  for (const std::vector<UpstreamConnection*> idle = idle_; UpstreamConnection * connection : idle) {
    if (outdone(*connection)) drop(*connection);
  }
}

// --- silence --------------------------------------------------------------------------------------

// Passed over while another server is usable. Asked for every transaction, so without a lock as a rule.
bool UpstreamPool::avoided(const UpstreamConnection& connection) const {
  return snapshot_.health->any_passed_over() && choice_.avoided(connection.target().server, host_.mono_ms());
}

void UpstreamPool::suspect(std::size_t server) {
  if (!snapshot_.health->suspect(upstream_, server, host_.mono_ms())) return;
  shard_.add<metrics::Metric::upstream_failovers>(snapshot_.upstream_labels[upstream_],
                                                  failover_reason(LinkFailure::timeout));
}

void UpstreamPool::note_reply(const UpstreamConnection& connection) {
  const std::size_t server = connection.target().server;
  // How long a server takes for a whole message says nothing about it.
  const session::Expect what = connection.link().answered();
  const bool counts = what != session::Expect::end_of_data && what != session::Expect::chunk;
  if (counts && choice_.replied(server, connection.took_ms(), host_.mono_ms())) suspect(server);
  if (connection.link().outstanding() == 0) choice_.satisfied(server, host_.mono_ms());
}

// Four times a second. With one server there is nowhere to go, and nothing to look for.
void UpstreamPool::look_for_silence() {
  if (choice_.size() < 2) return;
  std::vector<UpstreamConnection*> silent;
  for (const auto& connection : connections_) {
    if (connection->idle || connection->lost() || connection->stalled) continue;
    const std::size_t server = connection->target().server;
    const auto found = choice_.silent(server, connection->silent_ms(), host_.mono_ms());
    if (found == ServerChoice::Silence::suspect) suspect(server);
    const bool hung = snapshot_.health->any_passed_over() && snapshot_.health->view(upstream_, server).hung;
    if (found != ServerChoice::Silence::wait || hung) silent.push_back(connection.get());
  }
  for (UpstreamConnection* connection : silent) {
    if (connection->lost()) continue;
    if (!connection->opened()) {
      open_elsewhere(*connection);
    } else if (connection->client != nullptr) {
      connection->client->on_upstream_silent(
          *connection, snapshot_.health->view(upstream_, connection->target().server).hung);
    } else if (connection->link().outstanding() > 0) {
      connection->fail(LinkFailure::timeout, "no reply in time");
    }
  }
}

// The attempt goes on, and is for nobody any more: who waits is given a connection to another server.
void UpstreamPool::open_elsewhere(UpstreamConnection& connection) {
  connection.stalled = true;
  --opening_;
  if (UpstreamBorrower* bound = std::exchange(connection.bound, nullptr); bound != nullptr) {
    for (UpstreamShares::Waiter& waiter : shares_.waiters()) {
      if (waiter.client == bound) waiter.promised = false;
    }
  }
  if (shares_.waiting() > 0) open_more();
}

// --- giving back ----------------------------------------------------------------------------------

void UpstreamPool::forget(UpstreamBorrower& client) {
  cancel(client);
  if (!bound_to_client()) return;
  // More than one where an earlier one opened after its client had waited long enough.
  while (UpstreamConnection* own = connection_of(client)) {
    own->bound = nullptr;
    if (own->idle) drop(*own);
  }
}

void UpstreamPool::release(UpstreamConnection& connection) {
  connection.client = nullptr;
  if (connection.lost()) return drop(connection);
  if (connection.link().outstanding() > 0) {
    // Until it is clean it counts as held by whoever left it so.
    connection.given_back_ms = host_.mono_ms();
    connection.deadline_ms = host_.mono_ms() + settle_ms;
    return;
  }
  settled(connection);
}

void UpstreamPool::detach(UpstreamConnection& connection) {
  connection.client = nullptr;
  connection.asked_back_ms = 0;
  if (connection.party != nullptr) shares_.give_back(std::exchange(connection.party, nullptr));
}

// Nobody has it and it owes nothing.
void UpstreamPool::settled(UpstreamConnection& connection) {
  detach(connection);
  if (connection.transactions >= settings_.transactions_per_connection || connection.worn_out() ||
      outdone(connection) || avoided(connection)) {
    return drop(connection);
  }
  hand_over(connection);
  serve_idle();
}

void UpstreamPool::abort(UpstreamConnection& connection) {
  connection.client = nullptr;
  connection.abort();
  drop(connection);
}

void UpstreamPool::drop(UpstreamConnection& connection) {
  remove(connection);
  if (shares_.waiting() == 0) return;
  serve_idle();
  open_more();
}

// drop() without opening another one in its place.
void UpstreamPool::remove(UpstreamConnection& connection) {
  const auto at = std::find_if(connections_.begin(), connections_.end(),
                               [&](const auto& owned) { return owned.get() == &connection; });
  if (at == connections_.end()) return;
  if (connection.idle) std::erase(idle_, &connection);
  detach(connection);
  shard_.down<metrics::Metric::upstream_connections>(
      server_label(connection),
      connection.idle ? metrics::ConnectionState::idle : metrics::ConnectionState::active);
  connection.idle = false;
  connection.close();
  // Whoever was to have this one needs another.
  if (UpstreamBorrower* bound = std::exchange(connection.bound, nullptr); bound != nullptr) {
    for (UpstreamShares::Waiter& waiter : shares_.waiters()) {
      if (waiter.client == bound) waiter.promised = false;
    }
  }
  host_.bury(std::move(*at));
  connections_.erase(at);
}

// --- what connections tell ------------------------------------------------------------------------

void UpstreamPool::on_answer(UpstreamConnection& connection) noexcept {
  const smtp::Reply& reply = connection.link().answer();
  shard_.add<metrics::Metric::upstream_replies>(snapshot_.upstream_labels[upstream_],
                                                verb_of(connection.link().answered()),
                                                metrics::code_class_of(reply.code));
  shard_.observe<metrics::Metric::upstream_command_duration>(
      snapshot_.upstream_labels[upstream_], verb_of(connection.link().answered()),
      static_cast<double>(host_.mono_ms() - connection.burst_ms()) / 1000);
  note_reply(connection);
  if (reply.transient() || reply.permanent()) connection.note_refusal(reply, settings_.errors_per_connection);
  if (connection.client != nullptr) return connection.client->on_upstream_answer(connection);
  // Given back while it still owed replies: only a RSET that was accepted makes it clean.
  if (connection.link().outstanding() > 0) return;
  if (connection.link().answered() == session::Expect::rset && reply.code == 250) return settled(connection);
  drop(connection);
}

void UpstreamPool::on_handshake(const Handshake& handshake) noexcept {
  count(shard_, metrics::TlsSide::upstream, handshake);
}

void UpstreamPool::on_lost(UpstreamConnection& connection) noexcept {
  // A failure during the opening concerns whoever waits; later it concerns the session that has it.
  if (connection.deadline_ms != 0 && connection.transactions == 0 &&
      connection.link().failure() != LinkFailure::none && !connection.idle) {
    return opening_failed(connection);
  }
  UpstreamBorrower* client = std::exchange(connection.client, nullptr);
  const LinkFailure failure = connection.link().failure();
  const std::string text = connection.link().failure_text();
  const bool detach = client != nullptr;
  drop(connection);
  if (detach) client->on_upstream_lost(connection, failure, text);
}

void UpstreamPool::opening_failed(UpstreamConnection& connection) {
  if (!connection.stalled) --opening_;
  const LinkFailure failure = connection.link().failure();
  const std::string text = connection.link().name() + ": " + connection.link().failure_text();
  const std::size_t server = connection.target().server;
  session::XClient xclient = connection.target().xclient;
  UpstreamBorrower* bound = std::exchange(connection.bound, nullptr);
  count_connect(connection, connect_result(failure));
  if (connection.stalled) {
    choice_.failed(server, host_.mono_ms());
    return drop(connection);
  }
  const bool clear_text_next = connection.tls_was_the_problem() && connection.target().use_tls &&
                               settings_.tls == config::UpstreamTls::opportunistic;
  if (clear_text_next) {
    clear_text_until_ms_[server] = host_.mono_ms() + clear_text_ms;
  } else {
    choice_.failed(server, host_.mono_ms());
  }
  const auto waits = [&](const UpstreamShares::Waiter& waiter) {
    return !bound_to_client() || waiter.client == bound;
  };
  // The next attempt first, so that drop() does not start another one for the same waiter.
  bool going_on = false;
  bool room_awaited = false;  // a server works, but has all the connections that it may, or takes
  auto& waiters = shares_.waiters();
  if (const auto waiter = std::find_if(waiters.begin(), waiters.end(), waits); waiter != waiters.end()) {
    const std::size_t next = clear_text_next ? server : choice_.next(server + 1, host_.mono_ms());
    if (next != server) {
      shard_.add<metrics::Metric::upstream_failovers>(snapshot_.upstream_labels[upstream_],
                                                      failover_reason(failure));
    }
    const bool none_left = next >= settings_.servers.size();
    room_awaited = none_left ? one_comes_back() : choice_.usable(next, host_.mono_ms()) && !has_room(next);
    if (room_awaited) {
      waiter->promised = false;
    } else {
      going_on = start(next, std::move(xclient), bound);
    }
  }
  std::vector<UpstreamShares::Waiter> disappointed;
  if (room_awaited) {
    // drop() makes no other attempt here: this server is not asked first for a while.
  } else if (!going_on && opening_ == 0 && !bound_to_client()) {
    while (const auto waiter = shares_.longest(host_.mono_ms())) disappointed.push_back(*waiter);
  } else if (!going_on) {
    // Others are still being opened, but one attempt fewer: without one waiter fewer drop() would make
    // another attempt at once, and so on while the server refuses.
    if (const auto at = std::find_if(waiters.begin(), waiters.end(), waits); at != waiters.end()) {
      disappointed.push_back(*shares_.remove(*at->client));
    }
  }
  drop(connection);
  for (const UpstreamShares::Waiter& waiter : disappointed) deny(waiter, failure, text);
}

void UpstreamPool::on_writable(UpstreamConnection& connection) noexcept {
  if (connection.client != nullptr) connection.client->on_upstream_writable();
}

// --- time -----------------------------------------------------------------------------------------

void UpstreamPool::sweep() {
  const std::int64_t now = host_.mono_ms();
  while (const auto late = shares_.longest(now - std::int64_t{settings_.waiting_seconds} * 1000)) {
    deny(*late, LinkFailure::busy,
         shares_.may_take(late->client->party(), free_places())
             ? "no connection became free in time"
             : "no connection became free in time beside those that this network or login holds");
  }
  look_for_silence();
  // A server that was down may be asked again.
  if (shares_.waiting() > 0) open_more();
  reclaim();
  return_to_preferred();
  // Not at once when given back: under load the next session would have to open it again.
  const auto surplus_since = now - surplus_ms;
  while (idle_.size() > settings_.idle_max && idle_.front()->idle_since_ms <= surplus_since) {
    drop(*idle_.front());
  }
  std::vector<UpstreamConnection*> late;
  for (const auto& connection : connections_) {
    if (connection->due(now)) late.push_back(connection.get());
    if (connection->idle && connection->idle_since_ms + std::int64_t{settings_.idle_seconds} * 1000 <= now) {
      late.push_back(connection.get());
    }
  }
  for (UpstreamConnection* connection : late) {
    if (connection->idle) {
      drop(*connection);
    } else if (connection->due(now)) {  // what became free above may have given it to a session
      connection->attend(now);
    }
  }
}

void UpstreamPool::close_idle() {
  while (!idle_.empty()) drop(*idle_.back());
}

}  // namespace portcullis::net
