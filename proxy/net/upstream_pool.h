// The connections of one worker to one upstream: kept warm for reuse, bounded, with failover over its
// servers and a bounded queue of sessions that wait.
//
// A server that does not reply, or replies slowly, is left for another one that is usable (server_choice.h):
// what is being opened for a session that waits is opened there too, a transaction of which the client has
// heard nothing is begun there anew, and connections to the server are given up as they come back.
//
// Connections are shared out fairly (upstream_shares.h), and taken back from sessions that do not use them
// while others wait (upstream_reclaim.h): nobody else is kept waiting by what one network, or one login,
// does.
//
// A session gets the connection opened or used last (it is the most likely to live). Once a server that comes
// before others is up again, and a connection to it stands, those to the others are given up as they come
// back. A connection comes back clean: what it still owes is read first, and anything unexpected ends it.
// With client_identity = "xclient" a connection stays bound to the client that the server was told of, and is
// given up when the bound on connections leaves no room for another client.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "metrics/shard.h"
#include "proxy/net/server_choice.h"
#include "proxy/net/snapshot.h"
#include "proxy/net/upstream_borrower.h"
#include "proxy/net/upstream_connection.h"
#include "proxy/net/upstream_reclaim.h"
#include "proxy/net/upstream_shares.h"

namespace portcullis::net {

// What a pool asks of its worker: time, and calls to sessions outside the event under way.
class PoolHost {
 public:
  virtual std::int64_t mono_ms() const = 0;
  // Later in this turn of the loop: client.on_upstream_granted(connection), on_upstream_denied(...) or
  // on_upstream_wanted(...).
  virtual void grant_later(UpstreamBorrower& client, UpstreamConnection& connection) = 0;
  virtual void deny_later(UpstreamBorrower& client, session::LinkFailure failure, std::string text) = 0;
  virtual void want_back_later(UpstreamBorrower& client, UpstreamConnection& connection, bool end) = 0;
  virtual void bury(std::unique_ptr<UpstreamConnection> connection) = 0;

 protected:
  ~PoolHost() = default;
};

class UpstreamPool final : public UpstreamConnection::Owner {
 public:
  UpstreamPool(LoopContext& context, const Snapshot& snapshot, std::size_t upstream, metrics::Shard& shard,
               PoolHost& host);
  ~UpstreamPool();

  // A usable connection at once, or null: then the client waits and hears later.
  UpstreamConnection* acquire(UpstreamBorrower& client);
  void cancel(UpstreamBorrower& client);
  void forget(UpstreamBorrower& client);  // the client is gone
  void release(UpstreamConnection& connection);
  void abort(UpstreamConnection& connection);
  void sweep();  // deadlines, idle connections
  void close_idle();
  bool empty() const { return connections_.empty(); }

 private:
  void on_opened(UpstreamConnection& connection) noexcept override;
  void on_answer(UpstreamConnection& connection) noexcept override;
  void on_lost(UpstreamConnection& connection) noexcept override;
  void on_handshake(const Handshake& handshake) noexcept override;
  void on_writable(UpstreamConnection& connection) noexcept override;
  UpstreamConnection* connection_of(const UpstreamBorrower& client);
  UpstreamConnection* take(UpstreamConnection& connection, UpstreamBorrower& client, const PartyKey& key);
  void open_more();
  void open_more_bound();
  void serve_idle();
  std::size_t free_places() const;
  void count_waiting(std::size_t fewer);
  void deny(const UpstreamShares::Waiter& waiter, session::LinkFailure failure, const std::string& text);
  void detach(UpstreamConnection& connection);
  bool start(std::size_t server, session::XClient xclient, UpstreamBorrower* bound);
  bool has_room(std::size_t server) const;
  bool one_comes_back() const;
  bool outdone(const UpstreamConnection& connection) const;
  void return_to_preferred();
  void note_reply(const UpstreamConnection& connection);
  void look_for_silence();
  void open_elsewhere(UpstreamConnection& connection);
  void suspect(std::size_t server);
  bool avoided(const UpstreamConnection& connection) const;
  void settled(UpstreamConnection& connection);
  void hand_over(UpstreamConnection& connection);
  void park(UpstreamConnection& connection);
  void drop(UpstreamConnection& connection);
  // upstream_pool_reclaim.cc
  void reclaim();
  void take_back(UpstreamConnection& connection, ReclaimReason reason);
  std::size_t coming_back() const;
  void remove(UpstreamConnection& connection);
  void opening_failed(UpstreamConnection& connection);
  void attach(UpstreamConnection& connection, UpstreamBorrower& client, const PartyKey& key);
  bool bound_to_client() const { return settings_.client_identity == config::ClientIdentity::xclient; }
  std::uint16_t server_label(const UpstreamConnection& connection) const;
  void count_connect(const UpstreamConnection& connection, metrics::ConnectResult result);

  LoopContext& context_;
  const Snapshot& snapshot_;
  const std::size_t upstream_;
  const config::Upstream& settings_;
  metrics::Shard& shard_;
  PoolHost& host_;
  std::vector<std::unique_ptr<UpstreamConnection>> connections_;
  std::vector<UpstreamConnection*> idle_;  // most recently used last
  UpstreamShares shares_;
  ServerChoice choice_;
  std::vector<std::int64_t> clear_text_until_ms_;  // by server: an opportunistic handshake failed
  std::size_t opening_ = 0;
  std::int64_t reclaimed_at_ms_ = 0;  // when it was last looked for connections to take back
};

}  // namespace portcullis::net
