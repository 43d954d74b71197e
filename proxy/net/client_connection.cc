#include "proxy/net/client_connection.h"

#include <openssl/mem.h>

#include <utility>

#include "proxy/auth/tls_reason.h"
#include "proxy/net/handshake.h"
#include "proxy/net/proxy_header.h"
#include "proxy/net/upstream_connection.h"
#include "proxy/net/upstream_pool.h"
#include "proxy/net/worker.h"

namespace portcullis::net {

using session::LinkFailure;

namespace {

constexpr std::size_t full_octets = 128 * 1024;  // queued toward the upstream: stop reading the client
constexpr std::size_t room_octets = 32 * 1024;
constexpr std::int64_t linger_ms = 2'000;         // for a client that must still read our last words
constexpr std::size_t linger_octets = 64 * 1024;  // of what it sends meanwhile

policy::IpAddress address_of(const sockaddr_storage& storage, std::uint16_t& port) {
  policy::IpAddress address;
  if (storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);            // NOLINT: sockets API
    const auto* octets = reinterpret_cast<const std::uint8_t*>(&v4->sin_addr);  // NOLINT
    std::copy(octets, octets + 4, address.octets.begin());
    port = ntohs(v4->sin_port);
    return address;
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);            // NOLINT
  const auto* octets = reinterpret_cast<const std::uint8_t*>(&v6->sin6_addr);  // NOLINT
  port = ntohs(v6->sin6_port);
  if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
    std::copy(octets + 12, octets + 16, address.octets.begin());
    return address;
  }
  address.v6 = true;
  std::copy(octets, octets + 16, address.octets.begin());
  return address;
}

}  // namespace

ClientConnection::ClientConnection(Worker& worker, std::shared_ptr<Generation> generation,
                                   std::size_t listener)
    : worker_(worker),
      generation_(std::move(generation)),
      listener_(generation_->snapshot->listeners[listener]),
      stream_(worker.context(), *this) {}

ClientConnection::~ClientConnection() {
  if (token_) *token_ = nullptr;
}

session::Now ClientConnection::now() { return worker_.now(); }

UpstreamPool& ClientConnection::pool() { return *generation_->pools[listener_.upstream_index]; }

bool ClientConnection::accept(int fd, const sockaddr_storage& peer) {
  address_ = address_of(peer, port_);
  return stream_.tcp().adopt(fd);
}

policy::IpNetwork ClientConnection::network() const {
  const policy::ConnectionRule& rule = generation_->snapshot->config->policy.connections;
  return policy::network_of(address_, rule.ipv4_prefix_bits, rule.ipv6_prefix_bits);
}

bool ClientConnection::take_share() {
  holds_share_ = generation_->snapshot->lasting.places->join(
      listener_name(), listener_.settings.limits.connections, network());
  return holds_share_;
}

void ClientConnection::leave_place() {
  ListenerPlaces& places = *generation_->snapshot->lasting.places;
  if (holds_share_) places.part(listener_name(), network());
  if (holds_place) places.leave(listener_name());
}

void ClientConnection::await_proxy_header() {
  header_deadline_ms_ =
      worker_.mono_ms() + std::int64_t{listener_.settings.limits.greeting_timeout_seconds} * 1000;
  stream_.tcp().read(true);
}

void ClientConnection::proxy_header(std::string_view bytes) {
  header_bytes_ += bytes;
  const ProxyHeader header = parse_proxy_header(header_bytes_);
  const auto version = metrics::ProxyVersion{header.version};
  if (header.status == ProxyHeader::Status::need_more) return;
  if (header.status == ProxyHeader::Status::malformed) {
    return proxy_header_failed(version, metrics::ProxyResult::malformed);
  }
  header_deadline_ms_ = 0;
  worker_.shard().add<metrics::Metric::proxy_headers>(
      version, header.client ? metrics::ProxyResult::accepted : metrics::ProxyResult::local);
  if (header.client) {
    via_ = policy::to_string(address_);
    address_ = header.client->address;
    port_ = header.client->port;
    tls_ends_at_balancer_ = header.client->tls_ends_at_balancer;
  }
  const std::string rest = std::exchange(header_bytes_, {}).substr(header.octets);
  worker_.admit(*this);
  if (!rest.empty() && !dead_) stream_.receive(rest);
}

void ClientConnection::proxy_header_failed(metrics::ProxyVersion version, metrics::ProxyResult result) {
  worker_.shard().add<metrics::Metric::proxy_headers>(version, result);
  worker_.shard().add<metrics::Metric::connections_rejected>(listener_.label,
                                                             metrics::ConnectionReject::proxy_header);
  worker_.proxy_trouble(listener_, address_, result);
  turn_away("421 4.7.0 A PROXY header is needed here\r\n");
}

// The balancer connected and left without a word: it looked whether the port is open.
void ClientConnection::probed() {
  worker_.shard().add<metrics::Metric::proxy_headers>(metrics::ProxyVersion::none,
                                                      metrics::ProxyResult::local);
  worker_.shard().add<metrics::Metric::probe_sessions>(listener_.label);
  close_now();
}

void ClientConnection::turn_away(std::string_view reply) {
  if (listener_.settings.tls != config::ListenerTls::implicit) stream_.tcp().write(reply);
  close_now();
}

void ClientConnection::start(std::string id) {
  counted_ = true;
  metrics::Shard& shard = worker_.shard();
  shard.add<metrics::Metric::connections>(listener_.label);
  shard.up<metrics::Metric::connections_active>(listener_.label);
  session_ = std::make_unique<session::Session>(
      generation_->environment, listener_, address_, port_, std::move(id),
      generation_->snapshot->health->offer(listener_.upstream_index), now(), std::move(via_));
  session_->start(now(), worker_.effects());
  perform();
}

// --- events ---------------------------------------------------------------------------------------

void ClientConnection::on_plain(std::string_view bytes) noexcept {
  if (dead_) return;
  if (closing_) return discard(bytes.size());
  if (header_deadline_ms_ != 0) return proxy_header(bytes);
  session_->client_bytes(bytes, now(), worker_.effects());
  perform();
  worker_.settle();
  // They lie in the worker's buffer, and nothing refers to them any more.
  if (session_->took_secret()) {
    OPENSSL_cleanse(const_cast<char*>(bytes.data()), bytes.size());  // NOLINT: the buffer is ours
  }
}

void ClientConnection::on_end(bool reset) noexcept {
  if (dead_) return;
  // Who will say no more may still hear: what is queued goes out first, and on_flushed() comes back.
  if (closing_ && !reset && stream_.tcp().queued() > 0) return;
  if (closing_) return close_now();
  if (header_deadline_ms_ != 0 && header_bytes_.empty()) return probed();
  if (header_deadline_ms_ != 0) {
    return proxy_header_failed(metrics::ProxyVersion::none, metrics::ProxyResult::malformed);
  }
  if (stream_.handshaking()) {
    count(worker_.shard(), metrics::TlsSide::client, failed(metrics::TlsFailure::closed));
    // A port that was only looked at is no failure to be told of.
    const bool began = auth::handshake_began(stream_.ssl());
    if (began) {
      worker_.tls_trouble(listener_, session_->id(), address_,
                          "the client closed the connection during the handshake");
    }
    session_->client_lost(now(), worker_.effects(), began ? "TLS handshake" : "");
  } else if (reset) {
    session_->client_lost(now(), worker_.effects());
  } else {
    session_->client_eof(now(), worker_.effects());
  }
  perform();
  if (reset && !dead_) stream_.tcp().abort();
  worker_.settle();
}

void ClientConnection::on_tls_established() noexcept {
  count(worker_.shard(), metrics::TlsSide::client,
        succeeded(stream_.ssl(), worker_.mono_ms() - handshake_started_ms_));
  if (closing_ || dead_) return;
  session::TlsFacts facts = tls_facts(stream_.ssl(), generation_->snapshot->config->certificate_login);
  if (tls_ends_at_balancer_) {  // the certificate is the balancer's, not the client's
    facts.client_subject.clear();
    facts.certificate_login.clear();
  }
  session_->tls_established(std::move(facts), now(), worker_.effects());
  perform();
}

void ClientConnection::on_tls_failed(const std::string& error) noexcept {
  count(worker_.shard(), metrics::TlsSide::client, failed(stream_.tls_failure()));
  if (closing_ || dead_) return;
  worker_.tls_trouble(listener_, session_->id(), address_, error);
  session_->client_lost(now(), worker_.effects(), "TLS handshake: " + error);
  perform();
  worker_.settle();
}

void ClientConnection::on_flushed() noexcept {
  if (dead_ || !session_) return;
  if (closing_) return finish();
  update_reading();
}

void ClientConnection::on_upstream_granted(UpstreamConnection& connection) {
  // This client went while it was on its way: somebody else may have it.
  if (dead_ && !connection.lost()) return pool().release(connection);
  if (dead_) return;
  if (connection.lost()) {
    const session::UpstreamLink& link = connection.link();
    if (upstream_ == nullptr) on_upstream_denied(link.failure(), link.name() + ": " + link.failure_text());
    return;
  }
  // Granted for a wish that was taken back while it was on its way, and another one came first.
  if (upstream_ != nullptr) {
    if (upstream_ != &connection) pool().release(connection);
    return;
  }
  upstream_ = &connection;
  session_->upstream_ready(connection.link(), now(), worker_.effects());
  perform();
}

void ClientConnection::on_upstream_denied(LinkFailure failure, const std::string& text) {
  if (dead_) return;
  worker_.upstream_trouble(listener_, session_->id(), failure, text);
  session_->upstream_lost(failure, text, now(), worker_.effects());
  perform();
}

void ClientConnection::on_upstream_answer(UpstreamConnection& connection) {
  if (dead_) return;
  session_->upstream_answer(connection.link().answered(), connection.link().answer(), now(),
                            worker_.effects());
  perform();
  worker_.settle();
}

void ClientConnection::on_upstream_lost(UpstreamConnection& connection, LinkFailure failure,
                                        const std::string& text) {
  if (upstream_ != &connection) return;
  upstream_ = nullptr;
  if (dead_) return;
  worker_.upstream_trouble(listener_, session_->id(), failure, connection.link().name() + ": " + text);
  session_->upstream_lost(failure, text, now(), worker_.effects());
  perform();
  worker_.settle();
}

void ClientConnection::on_upstream_silent(UpstreamConnection& connection, bool hung) {
  if (dead_ || upstream_ != &connection) return;
  session_->upstream_silent(hung, now(), worker_.effects());
  perform();
}

void ClientConnection::on_upstream_writable() {
  if (dead_) return;
  update_reading();
}

void ClientConnection::on_upstream_wanted(UpstreamConnection& connection, bool end) {
  if (dead_ || closing_ || upstream_ != &connection) return;
  if (end) {
    worker_.upstream_trouble(listener_, session_->id(), LinkFailure::busy,
                             connection.link().name() + ": taken back, as other sessions wait");
    session_->end_upstream_use(now(), worker_.effects());
  } else {
    session_->yield_upstream(now(), worker_.effects());
  }
  perform();
}

// As the limits on connections count networks.
PartyKey ClientConnection::party() const {
  if (session_->authenticated()) return {"u" + std::string(session_->login()), true};
  const policy::ConnectionRule& rule = generation_->snapshot->config->policy.connections;
  const policy::IpNetwork network =
      policy::network_of(session_->client(), rule.ipv4_prefix_bits, rule.ipv6_prefix_bits);
  std::string text = network.base.v6 ? "6" : "4";
  text.append(network.base.octets.begin(), network.base.octets.begin() + (network.base.v6 ? 16 : 4));
  return {std::move(text), false};
}

void ClientConnection::on_auth(std::uint32_t attempt, auth::Outcome outcome) {
  if (dead_ || closing_) return;
  session_->auth_done(attempt, std::move(outcome), now(), worker_.effects());
  perform();
}

void ClientConnection::drain() {
  if (dead_ || closing_) return;
  if (!session_) return close_now();
  session_->drain(now(), worker_.effects());
  perform();
}

void ClientConnection::next_turn() {
  if (dead_ || closing_) return;
  session_->next_turn(now(), worker_.effects());
  perform();
}

void ClientConnection::sweep(std::int64_t mono_ms) {
  if (dead_) return;
  if (closing_) {
    if (mono_ms >= linger_until_ms_) close_now();
    return;
  }
  if (!session_) {
    if (mono_ms < header_deadline_ms_) return;
    return proxy_header_failed(metrics::ProxyVersion::none, metrics::ProxyResult::timeout);
  }
  // While nothing is read, a reset comes by no other way.
  if (!stream_.tcp().reading() && stream_.tcp().hung_up()) return on_end(true);
  if (session_->deadline_ms() > mono_ms) return;
  if (stream_.handshaking()) {
    count(worker_.shard(), metrics::TlsSide::client, failed(metrics::TlsFailure::timeout));
    worker_.tls_trouble(listener_, session_->id(), address_,
                        "the client did not complete the handshake in time");
  }
  session_->timeout(now(), worker_.effects());
  perform();
}

void ClientConnection::add_buffered(Buffered& sum) const {
  if (dead_) return;
  sum.client_output += stream_.tcp().queued();
  if (upstream_ != nullptr) sum.upstream_output += upstream_->queued();
  if (session_) sum.session += session_->held_octets();
}

void ClientConnection::kill(bool at_once) {
  if (dead_) return;
  if (!session_) return close_now();
  if (!closing_) {
    session_->stop(at_once, now(), worker_.effects());
    perform();
  }
  if (!dead_ && session_->finished()) close_now();
}

// --- effects --------------------------------------------------------------------------------------

void ClientConnection::perform() {
  session::Effects& effects = worker_.effects();
  for (;;) {
    carry_out_upstream();
    carry_out_client();
    effects.clear();
    // The answer to what was asked for just now.
    if (granted_ == nullptr) break;
    upstream_ = std::exchange(granted_, nullptr);
    session_->upstream_ready(upstream_->link(), now(), effects);
  }
  if (session_->finished()) {
    if (!closing_) {
      closing_ = true;
      linger_until_ms_ = worker_.mono_ms() + linger_ms;
    }
    finish();
  } else {
    if (session_->wants_turn()) worker_.next_turn(*this);
    update_reading();
  }
}

void ClientConnection::carry_out_upstream() {
  const session::Effects& effects = worker_.effects();
  if (upstream_ != nullptr && !effects.upstream.empty()) {
    upstream_->write(effects.upstream, effects.check_upstream_silent);
  }
  switch (effects.leave_upstream) {
    case session::Leave::no:
      break;
    case session::Leave::cancel:
      pool().cancel(*this);
      break;
    case session::Leave::release:
      if (upstream_ != nullptr) pool().release(*std::exchange(upstream_, nullptr));
      break;
    case session::Leave::abort:
      if (upstream_ != nullptr) pool().abort(*std::exchange(upstream_, nullptr));
      break;
  }
  if (effects.acquire_upstream) granted_ = pool().acquire(*this);
}

void ClientConnection::carry_out_client() {
  session::Effects& effects = worker_.effects();
  stream_.write(effects.client);
  if (effects.start_tls) start_tls();
  if (effects.wake_after_ms) wake_after(*effects.wake_after_ms);
  if (effects.authenticate) authenticate(std::move(*effects.authenticate));
}

void ClientConnection::start_tls() {
  handshake_started_ms_ = worker_.mono_ms();
  SslPtr ssl = generation_->snapshot->server_tls->session(listener_.settings.client_certificate,
                                                          listener_.settings.tls_profile);
  if (!ssl) return close_now();
  stream_.start_tls(std::move(ssl));
}

void ClientConnection::authenticate(auth::Request request) {
  if (!token_) token_ = std::make_shared<ClientConnection*>(this);
  // The answer may come on this thread (cache) or another: always by way of the worker's mailbox, so
  // that it never arrives inside an event, and may come when the worker is no more.
  const std::uint32_t attempt = request.attempt;
  generation_->snapshot->auth->authenticate(
      std::move(request), [token = token_, attempt, mailbox = worker_.mailbox()](auth::Outcome outcome) {
        mailbox->post([token, attempt, outcome = std::move(outcome)]() mutable {
          if (*token != nullptr) (*token)->on_auth(attempt, std::move(outcome));
        });
      });
}

void ClientConnection::wake_after(std::uint32_t delay_ms) {
  if (!token_) token_ = std::make_shared<ClientConnection*>(this);
  worker_.call_after(delay_ms, [token = token_] {
    if (*token == nullptr) return;
    ClientConnection& self = **token;
    if (self.dead_ || self.closing_) return;
    self.session_->wake(self.now(), self.worker_.effects());
    self.perform();
  });
}

void ClientConnection::update_reading() {
  if (dead_ || !stream_.tcp().open()) return;
  const std::size_t queued = upstream_ != nullptr ? upstream_->queued() : 0;
  session_->upstream_full(queued > full_octets || (queued > room_octets && !stream_.tcp().reading()), now());
  const bool client_takes = stream_.tcp().queued() < full_octets;
  stream_.tcp().read(stream_.handshaking() || (session_->wants_client_bytes() && client_takes));
}

// --- the end --------------------------------------------------------------------------------------

void ClientConnection::finish() {
  if (dead_) return;
  if (upstream_ != nullptr) pool().abort(*std::exchange(upstream_, nullptr));
  pool().forget(*this);
  stream_.close_notify();  // with the last reply, in one write
  stream_.tcp().flush();
  if (stream_.tcp().queued() > 0) return;  // on_flushed comes back here
  if (!session_->lingers() || !stream_.tcp().open()) return close_now();
  // Closing with unread input would reset the connection and take our last reply with it.
  if (linger_until_ms_ != 0 && !shut_) {
    shut_ = true;
    stream_.tcp().shutdown();
    stream_.tcp().read(true);
  }
}

// The session is over. What was on its way is read, so that the close does not reset the connection before
// the client has our last reply; a client that goes on and on is no longer read from.
void ClientConnection::discard(std::size_t octets) {
  discarded_octets_ += octets;
  if (discarded_octets_ > linger_octets) stream_.tcp().read(false);
}

void ClientConnection::close_now() {
  if (dead_) return;
  dead_ = true;
  if (upstream_ != nullptr) pool().abort(*std::exchange(upstream_, nullptr));
  if (session_) pool().forget(*this);
  stream_.tcp().close();
  if (counted_) {
    worker_.shard().down<metrics::Metric::connections_active>(listener_.label);
  }
  worker_.bury(*this);
}

}  // namespace portcullis::net
