// How a client comes in: accepted, within the limits, or refused in one line.
#include <openssl/rand.h>

#include <array>
#include <chrono>
#include <cstring>
#include <string_view>
#include <utility>

#include "proxy/net/worker_listening.h"

namespace portcullis::net {

namespace {

constexpr std::string_view too_many_text =
    "421 4.7.0 Too many connections from your network, try again later\r\n";
constexpr std::string_view too_fast_text =
    "421 4.7.0 Too many connections per minute from your network, try again later\r\n";
constexpr std::string_view full_text = "421 4.3.2 Too many connections, try again later\r\n";
constexpr std::string_view memory_text = "421 4.3.1 Short of memory, try again later\r\n";
constexpr std::string_view not_a_balancer_text = "421 4.7.0 Your network may not connect here directly\r\n";
constexpr std::string_view drain_text = "421 4.3.2 Service is closing, try again later\r\n";

}  // namespace

std::expected<void, std::string> Worker::listen(const BoundSocket& socket) {
  auto listening = std::make_unique<Listening>(*this, socket);
  auto acceptor = Acceptor::listen(loop_, socket.fd, *listening);
  if (!acceptor) return std::unexpected("can not listen on " + socket.key + ": " + acceptor.error());
  listening->acceptor = std::move(*acceptor);
  listening_.push_back(std::move(listening));
  return {};
}

std::string Worker::next_id() {
  // Time, worker and count, then random: unique over restarts and gateways, and not to be guessed.
  static constexpr std::string_view digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  auto time = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  std::array<std::uint8_t, 4> random{};
  RAND_bytes(random.data(), random.size());
  std::string id(8, '0');
  for (std::size_t i = id.size(); i-- > 0; time >>= 5) id[i] = digits[time & 31];
  id.push_back(digits[(index_ * 7 + ++sequence_) & 31]);
  for (const std::uint8_t octet : random) id.push_back(digits[octet & 31]);
  return id;
}

void Worker::on_connection(std::size_t listener, int fd, const sockaddr_storage& peer) {
  connections_.push_back(std::make_unique<ClientConnection>(*this, generation_, listener));
  ClientConnection& connection = *connections_.back();
  connection.index = connections_.size() - 1;
  ++generation_->sessions;
  session_count_.store(connections_.size(), std::memory_order_relaxed);
  if (!connection.accept(fd, peer)) return connection.turn_away({});
  const Snapshot& snapshot = *generation_->snapshot;
  const config::Listener& settings = snapshot.config->listeners[listener];
  if (draining_) return refuse(connection, metrics::ConnectionReject::draining, drain_text);
  if (snapshot.lasting.memory->pressure().load(std::memory_order_relaxed) != session::MemoryPressure::none) {
    return refuse(connection, metrics::ConnectionReject::resources, memory_text);
  }
  const ListenerPlaces::Answer place =
      snapshot.lasting.places->take(connection.listener_name(), settings.limits.connections);
  if (place == ListenerPlaces::Answer::listener_full) {
    return refuse(connection, metrics::ConnectionReject::listener_limit, full_text);
  }
  if (place == ListenerPlaces::Answer::all_full) {
    accept_trouble(connection.listener_name(), "descriptors_exhausted",
                   "all descriptors that clients may have are taken");
    return refuse(connection, metrics::ConnectionReject::descriptors, full_text);
  }
  connection.holds_place = true;
  if (!settings.proxy_protocol) return admit(connection);
  if (!snapshot.chain->permissions(connection.address()).may_send_proxy_header) {
    shard_.add<metrics::Metric::proxy_headers>(metrics::ProxyVersion::none, metrics::ProxyResult::untrusted);
    proxy_trouble(snapshot.listeners[listener], connection.address(), metrics::ProxyResult::untrusted);
    return refuse(connection, metrics::ConnectionReject::proxy_header, not_a_balancer_text);
  }
  connection.await_proxy_header();
}

void Worker::refuse(ClientConnection& connection, metrics::ConnectionReject reason, std::string_view text) {
  shard_.add<metrics::Metric::connections_rejected>(connection.listener_label(), reason);
  connection.turn_away(text);
}

void Worker::admit(ClientConnection& connection) {
  const Snapshot& snapshot = *connection.generation()->snapshot;
  const policy::ConnectionRule& rule = snapshot.config->policy.connections;
  const auto now = std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  const bool limited = !snapshot.chain->permissions(connection.address()).exempt_from_connection_limits;
  if (limited && !connection.take_share()) {
    accept_trouble(connection.listener_name(), "places_short",
                   "a client network holds its share of the places");
    return refuse(connection, metrics::ConnectionReject::fair_share, too_many_text);
  }
  if (limited && rule.mode != policy::Mode::off) {
    const policy::ConnectionAnswer answer =
        snapshot.lasting.connections->open(rule, connection.address(), now);
    if (answer != policy::ConnectionAnswer::accept) {
      shard_.add<metrics::Metric::policy_decisions>(
          snapshot.rule_labels[snapshot.chain->connections_rule()].rule, metrics::Stage::connect,
          metrics::Action::defer, rule.mode);
      const bool many = answer == policy::ConnectionAnswer::too_many;
      if (rule.mode == policy::Mode::enforce) {
        return refuse(connection,
                      many ? metrics::ConnectionReject::too_many : metrics::ConnectionReject::too_fast,
                      many ? too_many_text : too_fast_text);
      }
    }
    connection.owes_close = true;
  }
  connection.start(next_id());
  settle();
}

void Worker::on_accept_pause(std::size_t listener, int error) {
  const session::ListenerFacts& facts = generation_->snapshot->listeners[listener];
  shard_.add<metrics::Metric::accept_pauses>(facts.label);
  accept_trouble(facts.settings.name, "accept_failed", std::strerror(error));
}

// One record a minute of a kind over all workers: a flood of connections must not become a flood of records.
void Worker::accept_trouble(const std::string& listener, std::string_view cause, std::string text) {
  const Lasting& lasting = generation_->snapshot->lasting;
  if (!lasting.trouble->due(cause, uv_hrtime())) return;
  lasting.journal->write(metrics::EventRecord{std::chrono::system_clock::now(),
                                              metrics::EventRecord::Level::error,
                                              std::string(cause),
                                              {},
                                              {{"listener", listener}, {"detail", std::move(text)}},
                                              "connections of clients can not all be taken"});
}

void Worker::proxy_trouble(const session::ListenerFacts& listener, const policy::IpAddress& peer,
                           metrics::ProxyResult result) {
  generation_->snapshot->lasting.journal->write(metrics::EventRecord{
      std::chrono::system_clock::now(),
      metrics::EventRecord::Level::warning,
      "proxy_header_refused",
      {},
      {{"listener", listener.settings.name},
       {"client", policy::to_string(peer)},
       {"reason", std::string(metrics::proxy_result_values[static_cast<std::size_t>(result)])}},
      "a connection without an acceptable PROXY header",
      listener.settings.name + ": " +
          std::string(metrics::proxy_result_values[static_cast<std::size_t>(result)])});
}

}  // namespace portcullis::net
