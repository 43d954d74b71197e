#include "proxy/net/worker.h"

#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <system_error>
#include <utility>

#include "proxy/net/in_force.h"
#include "proxy/net/worker_listening.h"

namespace portcullis::net {

namespace {

constexpr std::uint64_t sweep_ms = 250;

}  // namespace

struct Worker::Delay {
  uv_timer_t timer;
  std::function<void()> task;
  Worker* worker;
  void close() {
    uv_close(uv::handle_of(&timer), [](uv_handle_t* closed) { delete static_cast<Delay*>(closed->data); });
  }
};

Worker::Worker(std::size_t index, const std::shared_ptr<const Snapshot>& snapshot)
    : index_(index),
      read_buffer_(buffer_octets),
      plain_buffer_(buffer_octets),
      context_{&loop_, read_buffer_, plain_buffer_},
      shard_(*snapshot->lasting.telemetry->workers[index]) {
  generation_ = make_generation(snapshot);
  in_force_ = generation_->environment.policies;
  ready_ = uv::init(loop_);
  has_loop_ = ready_.ok();
  if (!has_loop_) return;
  context_.turn_end.start(loop_);
  async_.data = sweep_timer_.data = check_.data = idle_.data = this;
  uv::init(loop_, sweep_timer_);
  uv::init(loop_, check_);
  uv::init(loop_, idle_);
  // What died during this turn of the loop is freed at its end, never under its own feet.
  uv::start(check_, [](uv_check_t* check) { static_cast<Worker*>(check->data)->bury_all(); });
  ready_ = uv::init(loop_, async_, [](uv_async_t* async) {
    auto& self = *static_cast<Worker*>(async->data);
    for (const auto& task : self.mailbox_->take()) {
      task();
      self.settle();
    }
  });
}

Worker::~Worker() {
  if (thread_.joinable()) {
    stop();
    thread_.join();
  } else if (has_loop_) {
    close_all();
    uv_run(&loop_, UV_RUN_DEFAULT);
    uv::close(loop_);
  }
}

std::shared_ptr<Generation> Worker::make_generation(const std::shared_ptr<const Snapshot>& snapshot) {
  const Snapshot& s = *snapshot;
  auto generation = std::make_shared<Generation>(Generation{
      snapshot,
      {*s.config, policies_of(snapshot), *s.lasting.journal, shard_, content_, staged_, framed_,
       [] { return static_cast<std::int64_t>(uv_hrtime()); }, &s.lasting.memory->pressure(), &in_force_},
      {},
      0});
  for (std::size_t i = 0; i < s.config->upstreams.size(); ++i) {
    generation->pools.push_back(std::make_unique<UpstreamPool>(context_, s, i, shard_, *this));
  }
  return generation;
}

// --- other threads --------------------------------------------------------------------------------

std::expected<void, std::string> Worker::run(const std::vector<BoundSocket>& sockets) {
  std::string error = ready_.ok() ? std::string() : ready_.text();
  for (const BoundSocket& socket : sockets) {
    if (!error.empty()) {
      ::close(socket.fd);
    } else if (const auto listens = listen(socket); !listens) {
      error = listens.error();
    }
  }
  if (error.empty()) {
    uv::start(
        sweep_timer_, [](uv_timer_t* timer) { static_cast<Worker*>(timer->data)->sweep(); }, sweep_ms,
        sweep_ms);
    last_turn_ns_.store(uv_hrtime(), std::memory_order_relaxed);
    try {
      thread_ = std::thread([this] { thread(); });
    } catch (const std::system_error& thrown) {
      error = thrown.code().message();
    }
  }
  if (error.empty()) return {};
  return std::unexpected("worker " + std::to_string(index_) + " can not start: " + error);
}

std::chrono::nanoseconds Worker::since_last_turn() const {
  const std::uint64_t last = last_turn_ns_.load(std::memory_order_relaxed);
  return std::chrono::nanoseconds(static_cast<std::int64_t>(uv_hrtime() - last));
}

void Worker::thread() {
  mailbox_->belongs_to_this_thread();
  pthread_setname_np(pthread_self(), ("worker-" + std::to_string(index_)).c_str());
  uv_run(&loop_, UV_RUN_DEFAULT);
  uv::close(loop_);
}

void Worker::reload(std::shared_ptr<const Snapshot> snapshot, std::vector<BoundSocket> sockets,
                    std::vector<std::pair<std::string, std::size_t>> keys) {
  post([this, snapshot = std::move(snapshot), sockets = std::move(sockets), keys = std::move(keys)] {
    retired_.push_back(std::exchange(generation_, make_generation(snapshot)));
    in_force_ = generation_->environment.policies;
    for (auto& listening : listening_) {
      const auto kept =
          std::find_if(keys.begin(), keys.end(), [&](const auto& k) { return k.first == listening->key; });
      if (kept != keys.end()) {
        listening->listener = kept->second;
      } else {
        listening.reset();
      }
    }
    std::erase(listening_, nullptr);
    for (const BoundSocket& socket : sockets) {
      if (const auto listens = listen(socket); !listens) {
        accept_trouble(snapshot->config->listeners[socket.listener].name, "listen_failed", listens.error());
      }
    }
  });
}

void Worker::drain() {
  post([this] {
    draining_ = true;
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
  if (thread_.joinable()) post([this] { close_all(); });
}

void Worker::close_all() {
  listening_.clear();
  kill_all(true);
  context_.turn_end.flush();  // what was said must not be lost with who said it
  connections_.clear();
  deliveries_.clear();
  retired_.clear();
  for (const auto& pool : generation_->pools) pool->close_idle();
  bury_all();
  generation_.reset();
  for (Delay* delay : std::exchange(delays_, {})) delay->close();
  uv_close(uv::handle_of(&sweep_timer_), nullptr);
  uv_close(uv::handle_of(&check_), nullptr);
  uv_close(uv::handle_of(&idle_), nullptr);
  context_.turn_end.close();
  mailbox_->close();
  if (ready_.ok()) uv_close(uv::handle_of(&async_), nullptr);
}

void Worker::next_turn(ClientConnection& connection) {
  if (std::exchange(connection.waits_for_turn, true)) return;
  turns_.push_back(&connection);
  if (turns_.size() == 1)
    uv::start(idle_, [](uv_idle_t* idle) { static_cast<Worker*>(idle->data)->take_turns(); });
}

void Worker::take_turns() {
  const std::size_t waiting = turns_.size();  // those that come meanwhile wait for the turn after this one
  for (std::size_t i = 0; i < waiting; ++i) {
    ClientConnection* const connection = std::exchange(turns_[i], nullptr);
    if (connection == nullptr) continue;
    connection->waits_for_turn = false;
    connection->next_turn();
    settle();
  }
  turns_.erase(turns_.begin(), turns_.begin() + static_cast<std::ptrdiff_t>(waiting));
  if (turns_.empty()) uv::stop(idle_);
}

void Worker::bury(ClientConnection& connection) {
  constexpr ClientConnection* gone = nullptr;
  const std::size_t index = connection.index;
  Generation& generation = *connection.generation();
  --generation.sessions;
  connection.leave_place();
  if (connection.owes_close) {
    generation.snapshot->lasting.connections->close(generation.snapshot->config->policy.connections,
                                                    connection.address());
  }
  if (connection.waits_for_turn) std::replace(turns_.begin(), turns_.end(), &connection, gone);
  dead_connections_.push_back(std::move(connections_[index]));
  if (index + 1 != connections_.size()) {
    connections_[index] = std::move(connections_.back());
    connections_[index]->index = index;
  }
  connections_.pop_back();
  session_count_.store(connections_.size(), std::memory_order_relaxed);
}

// --- deliveries -----------------------------------------------------------------------------------

void Worker::grant_later(UpstreamBorrower& client, UpstreamConnection& connection) {
  deliveries_.push_back({Delivery::Kind::grant, &client, &connection, session::LinkFailure::none, {}});
}

void Worker::deny_later(UpstreamBorrower& client, session::LinkFailure failure, std::string text) {
  deliveries_.push_back({Delivery::Kind::deny, &client, nullptr, failure, std::move(text)});
}

void Worker::want_back_later(UpstreamBorrower& client, UpstreamConnection& connection, bool end) {
  deliveries_.push_back({end ? Delivery::Kind::end_use : Delivery::Kind::want_back,
                         &client,
                         &connection,
                         session::LinkFailure::none,
                         {}});
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
    for (const Delivery& delivery : now) deliver(delivery);
  }
}

void Worker::deliver(const Delivery& delivery) {
  UpstreamBorrower& client = *delivery.client;
  switch (delivery.kind) {
    case Delivery::Kind::deny:
      return client.on_upstream_denied(delivery.failure, delivery.text);
    case Delivery::Kind::grant:
      // Lost on its way: the session that waits for the connection must be told.
      if (delivery.connection->client == &client || delivery.connection->lost()) {
        client.on_upstream_granted(*delivery.connection);
      }
      return;
    case Delivery::Kind::want_back:
    case Delivery::Kind::end_use:
      if (delivery.connection->client != &client) return;
      return client.on_upstream_wanted(*delivery.connection, delivery.kind == Delivery::Kind::end_use);
  }
}

void Worker::bury_all() {
  settle();
  dead_connections_.clear();
  dead_upstreams_.clear();
}

void Worker::call_after(std::uint32_t delay_ms, std::function<void()> task) {
  auto* delay = new Delay{{}, std::move(task), this};  // NOLINT: freed in its close callback
  delay->timer.data = delay;
  uv::init(loop_, delay->timer);
  uv::start(
      delay->timer,
      [](uv_timer_t* handle) {
        auto& self = *static_cast<Delay*>(handle->data);
        self.task();
        self.worker->settle();
        std::erase(self.worker->delays_, &self);
        self.close();
      },
      delay_ms, 0);
  delays_.push_back(delay);
}

// --- time -----------------------------------------------------------------------------------------

session::Now Worker::now() {
  if (now_.mono_ms != mono_ms()) now_ = {mono_ms(), std::chrono::system_clock::now()};
  return now_;
}

void Worker::sweep() {
  last_turn_ns_.store(uv_hrtime(), std::memory_order_relaxed);
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
                           "the upstream could not take the transaction",
                           listener.upstream.name + ": " + std::string(session::name_of(failure))});
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
