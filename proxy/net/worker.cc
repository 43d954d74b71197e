#include "proxy/net/worker.h"

#include <openssl/rand.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace portcullis::net {

namespace {

constexpr std::uint64_t sweep_ms = 250;
constexpr int backlog = 1024;

constexpr std::string_view too_many_text =
    "421 4.7.0 Too many connections from your network, try again later\r\n";
constexpr std::string_view too_fast_text =
    "421 4.7.0 Too many connections per minute from your network, try again later\r\n";
constexpr std::string_view full_text = "421 4.3.2 Too many connections, try again later\r\n";
constexpr std::string_view memory_text = "421 4.3.1 Short of memory, try again later\r\n";
constexpr std::string_view not_a_balancer_text = "421 4.7.0 Your network may not connect here directly\r\n";
constexpr std::string_view drain_text = "421 4.3.2 Service is closing, try again later\r\n";

template <typename T>
uv_handle_t* handle_of(T* handle) {
  return reinterpret_cast<uv_handle_t*>(handle);  // NOLINT: libuv's inheritance
}

}  // namespace

struct Worker::Listening {
  uv_tcp_t tcp{};
  Worker* worker = nullptr;
  std::size_t listener = 0;
  std::string key;
};

Worker::Worker(std::size_t index, const std::shared_ptr<const Snapshot>& snapshot)
    : index_(index),
      read_buffer_(buffer_octets),
      plain_buffer_(buffer_octets),
      context_{&loop_, read_buffer_, plain_buffer_},
      shard_(*snapshot->lasting.telemetry->workers[index]) {
  uv_loop_init(&loop_);
  context_.turn_end.start(loop_);
  async_.data = sweep_timer_.data = check_.data = this;
  uv_async_init(&loop_, &async_, [](uv_async_t* async) {
    auto& self = *static_cast<Worker*>(async->data);
    for (const auto& task : self.mailbox_->take()) {
      task();
      self.settle();
    }
  });
  uv_timer_init(&loop_, &sweep_timer_);
  uv_check_init(&loop_, &check_);
  // What died during this turn of the loop is freed at its end, never under its own feet.
  uv_check_start(&check_, [](uv_check_t* check) { static_cast<Worker*>(check->data)->bury_all(); });
  generation_ = make_generation(snapshot);
}

Worker::~Worker() {
  stop();
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<Generation> Worker::make_generation(const std::shared_ptr<const Snapshot>& snapshot) {
  const Snapshot& s = *snapshot;
  auto generation = std::make_shared<Generation>(
      Generation{snapshot,
                 {*s.config, *s.chain, *s.lasting.journal, shard_, s.rule_labels, content_, staged_, framed_,
                  [] { return static_cast<std::int64_t>(uv_hrtime()); }, &s.lasting.memory->pressure()},
                 {},
                 0});
  for (std::size_t i = 0; i < s.config->upstreams.size(); ++i) {
    generation->pools.push_back(std::make_unique<UpstreamPool>(context_, s, i, shard_, *this));
  }
  return generation;
}

// --- other threads --------------------------------------------------------------------------------

void Worker::run(const std::vector<BoundSocket>& sockets) {
  for (const BoundSocket& socket : sockets) listen(socket);
  uv_timer_start(
      &sweep_timer_, [](uv_timer_t* timer) { static_cast<Worker*>(timer->data)->sweep(); }, sweep_ms,
      sweep_ms);
  thread_ = std::thread([this] { thread(); });
}

void Worker::thread() {
  mailbox_->belongs_to_this_thread();
  pthread_setname_np(pthread_self(), ("worker-" + std::to_string(index_)).c_str());
  uv_run(&loop_, UV_RUN_DEFAULT);
  uv_loop_close(&loop_);
}

void Worker::reload(std::shared_ptr<const Snapshot> snapshot, std::vector<BoundSocket> sockets,
                    std::vector<std::pair<std::string, std::size_t>> keys) {
  post([this, snapshot = std::move(snapshot), sockets = std::move(sockets), keys = std::move(keys)] {
    retired_.push_back(std::exchange(generation_, make_generation(snapshot)));
    for (auto& listening : listening_) {
      const auto kept =
          std::find_if(keys.begin(), keys.end(), [&](const auto& k) { return k.first == listening->key; });
      if (kept != keys.end()) {
        listening->listener = kept->second;
        continue;
      }
      Listening* gone = listening.release();
      uv_close(handle_of(&gone->tcp),
               [](uv_handle_t* handle) { delete static_cast<Listening*>(handle->data); });
    }
    std::erase(listening_, nullptr);
    for (const BoundSocket& socket : sockets) listen(socket);
  });
}

void Worker::drain() {
  post([this] {
    draining_ = true;
    for (auto& listening : listening_) {
      Listening* gone = listening.release();
      uv_close(handle_of(&gone->tcp),
               [](uv_handle_t* handle) { delete static_cast<Listening*>(handle->data); });
    }
    listening_.clear();
    // Carrying out one may end others: by index, over what is there now.
    std::vector<ClientConnection*> all;
    all.reserve(connections_.size());
    for (const auto& connection : connections_) all.push_back(connection.get());
    for (ClientConnection* connection : all) connection->drain();
  });
}

void Worker::kill_sessions() {
  post([this] { kill_all(false); });
}

void Worker::kill_all(bool at_once) {
  std::vector<ClientConnection*> all;
  all.reserve(connections_.size());
  for (const auto& connection : connections_) all.push_back(connection.get());
  for (ClientConnection* connection : all) connection->kill(at_once);
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  post([this] {
    for (auto& listening : listening_) {
      Listening* gone = listening.release();
      uv_close(handle_of(&gone->tcp),
               [](uv_handle_t* handle) { delete static_cast<Listening*>(handle->data); });
    }
    listening_.clear();
    kill_all(true);
    context_.turn_end.flush();  // what was said must not be lost with who said it
    connections_.clear();
    deliveries_.clear();
    retired_.clear();
    for (const auto& pool : generation_->pools) pool->close_idle();
    bury_all();
    generation_.reset();
    uv_close(handle_of(&sweep_timer_), nullptr);
    uv_close(handle_of(&check_), nullptr);
    context_.turn_end.close();
    mailbox_->close();
    uv_close(handle_of(&async_), nullptr);
  });
}

// --- accepting ------------------------------------------------------------------------------------

void Worker::listen(const BoundSocket& socket) {
  auto listening = std::make_unique<Listening>();
  listening->worker = this;
  listening->listener = socket.listener;
  listening->key = socket.key;
  listening->tcp.data = listening.get();
  uv_tcp_init(&loop_, &listening->tcp);
  uv_tcp_open(&listening->tcp, socket.fd);
  // Small replies must not wait for the peer's delayed ACK. Accepted sockets inherit it.
  uv_tcp_nodelay(&listening->tcp, 1);
  uv_listen(reinterpret_cast<uv_stream_t*>(&listening->tcp), backlog,  // NOLINT: libuv's inheritance
            [](uv_stream_t* server, int status) {
              auto& self = *static_cast<Listening*>(server->data);
              if (status == 0) self.worker->on_connection(self);
            });
  listening_.push_back(std::move(listening));
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

void Worker::on_connection(Listening& listening) {
  const std::size_t listener = listening.listener;
  connections_.push_back(std::make_unique<ClientConnection>(*this, generation_, listener));
  ClientConnection& connection = *connections_.back();
  connection.index = connections_.size() - 1;
  ++generation_->sessions;
  session_count_.store(connections_.size(), std::memory_order_relaxed);
  if (!connection.accept(reinterpret_cast<uv_stream_t*>(&listening.tcp))) {  // NOLINT: libuv's inheritance
    return connection.turn_away({});
  }
  const Snapshot& snapshot = *generation_->snapshot;
  const config::Listener& settings = snapshot.config->listeners[listener];
  if (draining_) return refuse(connection, metrics::ConnectionReject::draining, drain_text);
  if (snapshot.lasting.memory->pressure().load(std::memory_order_relaxed) != session::MemoryPressure::none) {
    return refuse(connection, metrics::ConnectionReject::resources, memory_text);
  }
  if (!snapshot.lasting.places->take(connection.listener_name(), settings.limits.connections)) {
    return refuse(connection, metrics::ConnectionReject::listener_limit, full_text);
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
  if (rule.mode != policy::Mode::off &&
      !snapshot.chain->permissions(connection.address()).exempt_from_connection_limits) {
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

void Worker::bury(ClientConnection& connection) {
  const std::size_t index = connection.index;
  Generation& generation = *connection.generation();
  --generation.sessions;
  if (connection.holds_place) generation.snapshot->lasting.places->leave(connection.listener_name());
  if (connection.owes_close) {
    generation.snapshot->lasting.connections->close(generation.snapshot->config->policy.connections,
                                                    connection.address());
  }
  dead_connections_.push_back(std::move(connections_[index]));
  if (index + 1 != connections_.size()) {
    connections_[index] = std::move(connections_.back());
    connections_[index]->index = index;
  }
  connections_.pop_back();
  session_count_.store(connections_.size(), std::memory_order_relaxed);
}

// --- deliveries -----------------------------------------------------------------------------------

void Worker::grant_later(ClientConnection& client, UpstreamConnection& connection) {
  deliveries_.push_back({&client, &connection, session::LinkFailure::none, {}});
}

void Worker::deny_later(ClientConnection& client, session::LinkFailure failure, std::string text) {
  deliveries_.push_back({&client, nullptr, failure, std::move(text)});
}

void Worker::bury(std::unique_ptr<UpstreamConnection> connection) {
  dead_upstreams_.push_back(std::move(connection));
}

void Worker::settle() {
  // Deliveries may cause further ones.
  while (!deliveries_.empty() || !mailbox_->own_empty()) {
    for (const auto& task : mailbox_->take_own()) task();
    std::vector<Delivery> now;
    now.swap(deliveries_);
    for (Delivery& delivery : now) {
      if (delivery.connection == nullptr) {
        delivery.client->on_upstream_denied(delivery.failure, delivery.text);
      } else if (delivery.connection->client == delivery.client || delivery.connection->lost()) {
        // Lost on its way: the one who waits for it must still hear so.
        delivery.client->on_upstream_granted(*delivery.connection);
      }
    }
  }
}

void Worker::bury_all() {
  settle();
  dead_connections_.clear();
  dead_upstreams_.clear();
}

void Worker::call_after(std::uint32_t delay_ms, std::function<void()> task) {
  struct Timer {
    uv_timer_t timer;
    std::function<void()> task;
    Worker* worker;
  };
  auto* timer = new Timer{{}, std::move(task), this};  // NOLINT: freed in its close callback
  timer->timer.data = timer;
  uv_timer_init(&loop_, &timer->timer);
  uv_timer_start(
      &timer->timer,
      [](uv_timer_t* handle) {
        auto* self = static_cast<Timer*>(handle->data);
        self->task();
        self->worker->settle();
        uv_close(handle_of(handle), [](uv_handle_t* closed) { delete static_cast<Timer*>(closed->data); });
      },
      delay_ms, 0);
}

// --- time -----------------------------------------------------------------------------------------

session::Now Worker::now() {
  if (now_.mono_ms != mono_ms()) now_ = {mono_ms(), std::chrono::system_clock::now()};
  return now_;
}

void Worker::sweep() {
  const std::int64_t now = mono_ms();
  if (sweep_due_ms_ != 0) {
    shard_.observe<metrics::Metric::event_loop_lag>(
        index_, static_cast<double>(std::max<std::int64_t>(0, now - sweep_due_ms_)) / 1000);
  }
  sweep_due_ms_ = now + static_cast<std::int64_t>(sweep_ms);
  // From the end: one that ends moves the last into its place, which was looked at already.
  Buffered held;
  for (std::size_t i = connections_.size(); i-- > 0;) {
    if (i >= connections_.size()) continue;
    connections_[i]->add_buffered(held);
    connections_[i]->sweep(now);
  }
  tell_buffered(held);
  for (const auto& pool : generation_->pools) pool->sweep();
  for (const auto& generation : retired_) {
    for (const auto& pool : generation->pools) {
      pool->sweep();
      if (generation->sessions == 0) pool->close_idle();
    }
  }
  settle();
  std::erase_if(retired_, [](const auto& generation) {
    return generation->sessions == 0 && std::all_of(generation->pools.begin(), generation->pools.end(),
                                                    [](const auto& pool) { return pool->empty(); });
  });
}

void Worker::tell_buffered(const Buffered& held) {
  const auto tell = [&](metrics::BufferKind kind, std::size_t before, std::size_t after) {
    if (after > before) shard_.up<metrics::Metric::buffer_bytes>(kind, after - before);
    if (after < before) shard_.down<metrics::Metric::buffer_bytes>(kind, before - after);
  };
  tell(metrics::BufferKind::client_output, told_.client_output, held.client_output);
  tell(metrics::BufferKind::upstream_output, told_.upstream_output, held.upstream_output);
  tell(metrics::BufferKind::session, told_.session, held.session);
  told_ = held;
}

void Worker::upstream_trouble(const session::ListenerFacts& listener, const std::string& session,
                              session::LinkFailure failure, const std::string& text) {
  generation_->snapshot->lasting.journal->write(
      metrics::EventRecord{std::chrono::system_clock::now(),
                           metrics::EventRecord::Level::warning,
                           "upstream_failed",
                           session,
                           {{"upstream", listener.upstream.name},
                            {"failure", std::string(session::name_of(failure))},
                            {"detail", text}},
                           "the upstream could not take the transaction"});
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
      "a connection without an acceptable PROXY header"});
}

void Worker::tls_trouble(const session::ListenerFacts& listener, const std::string& session,
                         const policy::IpAddress& client, const std::string& text) {
  generation_->snapshot->lasting.journal->write(metrics::EventRecord{
      std::chrono::system_clock::now(),
      metrics::EventRecord::Level::info,
      "tls_failed",
      session,
      {{"listener", listener.settings.name}, {"client", policy::to_string(client)}, {"detail", text}},
      "the TLS handshake with the client failed"});
}

}  // namespace portcullis::net
