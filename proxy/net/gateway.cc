#include "proxy/net/gateway.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <utility>

#include "proxy/config/descriptors.h"
#include "proxy/net/sockets.h"

namespace portcullis::net {

namespace {

constexpr std::uint64_t tick_ms = 100;
constexpr std::int64_t first_probe_ms = 3'000;  // waited for, so that the first sessions get the full offer
constexpr std::int64_t housekeeping_ms = 60'000;
constexpr std::int64_t memory_ms = 1'000;
constexpr std::size_t buffer_octets = 64 * 1024;
constexpr std::chrono::seconds stuck{10};  // since a worker's loop turned last: it serves nobody any more
constexpr std::array<int, 3> handled = {SIGTERM, SIGINT, SIGHUP};

}  // namespace

Gateway::Gateway(std::shared_ptr<const Snapshot> snapshot, std::vector<std::vector<BoundSocket>> sockets,
                 Load load, Taken taken, std::function<void()> housekeeping)
    : snapshot_(std::move(snapshot)),
      sockets_(std::move(sockets)),
      load_(std::move(load)),
      taken_(std::move(taken)),
      at_start_(snapshot_->config),
      housekeeping_(std::move(housekeeping)),
      signals_(handled.size()),
      read_buffer_(buffer_octets),
      plain_buffer_(buffer_octets),
      context_{&loop_, read_buffer_, plain_buffer_},
      manager_(ServiceManager::from_environment()) {
  loop_ready_ = uv::init(loop_);
  if (!loop_ready_.ok()) return;
  context_.turn_end.start(loop_);
  timer_.data = this;
  uv::init(loop_, timer_);
}

Gateway::~Gateway() {
  workers_.clear();
  for (const auto& sockets : sockets_) {
    for (const BoundSocket& socket : sockets) ::close(socket.fd);
  }
  if (!loop_ready_.ok()) return;
  prober_.reset();
  admin_.reset();
  for (std::size_t i = 0; i < signals_ready_; ++i) uv_close(uv::handle_of(&signals_[i]), nullptr);
  uv_close(uv::handle_of(&timer_), nullptr);
  context_.turn_end.close();
  uv_run(&loop_, UV_RUN_DEFAULT);
  uv::close(loop_);
}

void Gateway::event(metrics::EventRecord::Level level, std::string name,
                    std::vector<std::pair<std::string, std::string>> fields, std::string message) {
  snapshot_->lasting.journal->write(metrics::EventRecord{
      std::chrono::system_clock::now(), level, std::move(name), {}, std::move(fields), std::move(message)});
}

std::expected<int, std::string> Gateway::run() {
  signal(SIGPIPE, SIG_IGN);  // NOLINT: a peer that goes away is an error code, not a signal
  if (!loop_ready_.ok()) return std::unexpected("the main loop can not start: " + loop_ready_.text());
  auto& telemetry = *snapshot_->lasting.telemetry;
  auto admin = AdminServer::listen(
      loop_, snapshot_->config->admin,
      admin_routes(telemetry.exporter, {[this] { return health(); }, [this] { return readiness(); }}),
      [&telemetry](metrics::Route route, unsigned status) {
        telemetry.shared.add<metrics::Metric::admin_requests>(route, metrics::http_code_index(status));
      });
  if (!admin) return std::unexpected(admin.error());
  admin_ = std::move(*admin);
  telemetry.exporter.on_scrape([this] { collect(); });
  telemetry.levels.set<metrics::Metric::draining>(0);
  telemetry.levels.set<metrics::Metric::config_last_reload_successful>(1);
  telemetry.levels.set<metrics::Metric::config_last_reload_success>(
      static_cast<double>(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
  if (auto started = start_loop(); !started) return std::unexpected(started.error());
  prober_ = std::make_unique<Prober>(
      context_, [this](const config::Upstream& upstream, const config::Server& server, Prober::Change change,
                       const std::string& text) { upstream_changed(upstream, server, change, text); });
  prober_->use(snapshot_);
  uv_run(&loop_, UV_RUN_DEFAULT);
  if (!start_error_.empty()) return std::unexpected(start_error_);
  return 0;
}

std::expected<void, std::string> Gateway::start_loop() {
  for (std::size_t i = 0; i < handled.size(); ++i) {
    signals_[i].data = this;
    uv::Status status = uv::init(loop_, signals_[i]);
    if (status.ok()) {
      ++signals_ready_;
      status = uv::start(
          signals_[i],
          [](uv_signal_t* handle, int number) {
            auto& self = *static_cast<Gateway*>(handle->data);
            self.guarded("signal", [&self, number] { self.on_signal(number); });
          },
          handled[i]);
    }
    if (!status.ok()) return std::unexpected("signals can not be handled: " + status.text());
  }
  uv::start(
      timer_,
      [](uv_timer_t* timer) {
        auto& self = *static_cast<Gateway*>(timer->data);
        self.guarded("timer", [&self] { self.tick(); });
      },
      tick_ms, tick_ms);
  uv_update_time(&loop_);
  started_ms_ = static_cast<std::int64_t>(uv_now(&loop_));
  share_out_descriptors();
  return {};
}

void Gateway::share_out_descriptors() {
  const std::uint64_t clients =
      config::clients_within(config::descriptors_of(*snapshot_->config), config::descriptor_limit());
  snapshot_->lasting.places->set_most(clients);
}

void Gateway::upstream_changed(const config::Upstream& upstream, const config::Server& server,
                               Prober::Change change, const std::string& text) {
  using Level = metrics::EventRecord::Level;
  struct Event {
    Level level;
    const char* name;
    const char* message;
  };
  static constexpr std::array<Event, 4> events = {{
      {Level::info, "upstream_up", "the upstream server answers"},
      {Level::error, "upstream_down", "the upstream server does not answer"},
      {Level::warning, "upstream_passed_over", "the upstream server is slow or silent; others are preferred"},
      {Level::info, "upstream_preferred", "the upstream server replies in time again"},
  }};
  const Event& what = events[static_cast<std::size_t>(change)];
  event(what.level, what.name,
        {{"upstream", upstream.name},
         {"server", server.host + ':' + std::to_string(server.port)},
         {"detail", text}},
        what.message);
}

// libuv is written in C: an exception must not pass through it. What was under way is given up, all else goes
// on.
void Gateway::guarded(const char* what, const std::function<void()>& task) noexcept {
  try {
    task();
  } catch (const std::exception& error) {
    event(metrics::EventRecord::Level::error, "internal_error", {{"during", what}, {"detail", error.what()}},
          "the main loop gave up what it was doing");
  }
}

void Gateway::start_workers() {
  serving_ = true;
  for (std::size_t i = 0; i < sockets_.size() && start_error_.empty(); ++i) {
    workers_.push_back(std::make_unique<Worker>(i, snapshot_));
    if (const auto runs = workers_.back()->run(std::exchange(sockets_[i], {})); !runs)
      start_error_ = runs.error();
  }
  if (!start_error_.empty()) return finish();
  event(metrics::EventRecord::Level::info, "started",
        {{"config", snapshot_->config->path}, {"workers", std::to_string(workers_.size())}}, "serving");
  manager_.state("READY=1\nSTATUS=serving");
  if (reload_wanted_) reload();
}

void Gateway::tick() {
  const auto now = static_cast<std::int64_t>(uv_now(&loop_));
  prober_->tick();
  auth_prober_.tick(now, *snapshot_);
  if (now >= housekeeping_due_ms_) {
    housekeeping_due_ms_ = now + housekeeping_ms;
    housekeeping_();
  }
  if (now >= memory_due_ms_) {
    memory_due_ms_ = now + memory_ms;
    look_at_memory();
  }
  if (!serving_ && !draining_ && (prober_->first_round_done() || now - started_ms_ > first_probe_ms))
    start_workers();
  manager_.tick(now, health().empty());
  if (!draining_) return;
  if (sessions() == 0) return finish();
  if (now >= drain_end_ms_ && !killed_) {
    killed_ = true;
    drain_end_ms_ = now + 1000;
    for (const auto& worker : workers_) worker->kill_sessions();
  } else if (now >= drain_end_ms_) {
    finish();
  }
}

void Gateway::look_at_memory() {
  using session::MemoryPressure;
  MemoryGuard& guard = *snapshot_->lasting.memory;
  const MemoryPressure before = guard.pressure();
  const MemoryPressure after = guard.look(snapshot_->config->memory_octets_max);
  if (before == after) return;
  const std::vector<std::pair<std::string, std::string>> fields = {
      {"resident_octets", std::to_string(resident_octets())}, {"sessions", std::to_string(sessions())}};
  if (after == MemoryPressure::none) {
    event(metrics::EventRecord::Level::info, "memory_ok", fields, "sessions are taken again");
  } else if (after == MemoryPressure::high) {
    event(metrics::EventRecord::Level::warning, "memory_high", fields,
          "no new sessions are taken, and no new transactions without a login");
  } else {
    event(metrics::EventRecord::Level::error, "memory_critical", fields, "no new transactions are taken");
  }
}

void Gateway::on_signal(int number) {
  if (number == SIGHUP) return reload();
  if (draining_) return finish();  // asked twice: at once
  drain();
}

void Gateway::drain() {
  draining_ = true;
  manager_.state("STOPPING=1\nSTATUS=draining");
  event(metrics::EventRecord::Level::info, "draining", {{"sessions", std::to_string(sessions())}},
        "no new sessions are taken; open transactions may end");
  snapshot_->lasting.telemetry->levels.set<metrics::Metric::draining>(1);
  drain_end_ms_ =
      static_cast<std::int64_t>(uv_now(&loop_)) + std::int64_t{snapshot_->config->drain_seconds} * 1000;
  for (const auto& worker : workers_) worker->drain();
}

void Gateway::finish() {
  if (std::exchange(finished_, true)) return;
  if (start_error_.empty()) event(metrics::EventRecord::Level::info, "stopped", {}, "bye");
  workers_.clear();  // stops and joins each
  uv_stop(&loop_);
}

std::expected<Gateway::Fresh, std::string> Gateway::prepare() {
  std::vector<std::vector<BoundSocket>> sockets;
  std::string problem;
  try {
    const std::shared_ptr<const config::Config> config = load_();
    if (!config) return std::unexpected("see the problems told before this record");
    // The snapshot comes last: with it the metrics speak of the new configuration.
    auto bound = bind_sockets(*config, workers_.size(), snapshot_->config.get());
    if (!bound) return std::unexpected(bound.error());
    sockets = std::move(*bound);
    auto snapshot = make_snapshot(config, snapshot_->lasting, snapshot_.get());
    if (snapshot) return Fresh{std::move(*snapshot), std::move(sockets)};
    problem = std::move(snapshot.error());
    snapshot_->lasting.telemetry->shared.add<metrics::Metric::tls_certificate_reloads>(
        metrics::Outcome::failure);
  } catch (const std::exception& error) {  // no memory, no threads
    problem = error.what();
  }
  close_sockets(sockets);
  return std::unexpected(std::move(problem));
}

void Gateway::reload_failed(const std::string& why) {
  auth::use_workers(*snapshot_->lasting.auth_workers, snapshot_->config->auth);
  auto& telemetry = *snapshot_->lasting.telemetry;
  telemetry.shared.add<metrics::Metric::config_reloads>(metrics::Outcome::failure);
  telemetry.levels.set<metrics::Metric::config_last_reload_successful>(0);
  event(metrics::EventRecord::Level::error, "reload_failed", {{"detail", why}},
        "the new configuration is not used; the old one goes on");
  manager_.state("READY=1\nSTATUS=serving; the last reload failed");
}

void Gateway::reload() {
  if (draining_) return;
  reload_wanted_ = !serving_;
  if (reload_wanted_) return;
  manager_.state("RELOADING=1");
  snapshot_->lasting.journal->reopen();
  auto fresh = prepare();
  if (!fresh) return reload_failed(fresh.error());
  take(std::move(*fresh));
}

void Gateway::take(Fresh fresh) {
  auto& telemetry = *snapshot_->lasting.telemetry;
  const std::shared_ptr<const config::Config> config = fresh.snapshot->config;
  const auto keys = socket_keys(*config);
  for (std::size_t i = 0; i < workers_.size(); ++i)
    workers_[i]->reload(fresh.snapshot, std::move(fresh.sockets[i]), keys);
  snapshot_ = std::move(fresh.snapshot);
  share_out_descriptors();
  auth::use_workers(*snapshot_->lasting.auth_workers, config->auth);
  snapshot_->lasting.lockout->use(config->auth.lockout);
  snapshot_->lasting.auth_health->use(*config);
  taken_(*snapshot_->config);
  prober_->use(snapshot_);
  telemetry.shared.add<metrics::Metric::config_reloads>(metrics::Outcome::success);
  telemetry.shared.add<metrics::Metric::tls_certificate_reloads>(metrics::Outcome::success);
  telemetry.levels.set<metrics::Metric::config_last_reload_successful>(1);
  telemetry.levels.set<metrics::Metric::config_last_reload_success>(
      static_cast<double>(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
  event(metrics::EventRecord::Level::info, "reloaded", {{"config", config->path}},
        "new sessions use the new configuration");
  tell_what_needs_a_restart();
  manager_.state("READY=1\nSTATUS=serving");
}

// What this process can not change any more: said, so that nobody takes a reload for the change.
void Gateway::tell_what_needs_a_restart() {
  const config::Config& was = *at_start_;
  const config::Config& is = *snapshot_->config;
  std::string keys;
  const auto look = [&](const char* key, bool same) {
    if (!same) keys += (keys.empty() ? "" : ", ") + std::string(key);
  };
  look("workers", was.workers == is.workers);
  look("user", was.user == is.user);
  look("group", was.group == is.group);
  look("[journal]", was.journal == is.journal);
  look("[metrics]", was.admin == is.admin);
  look("[state]", was.state_path == is.state_path);
  if (keys.empty()) return;
  event(metrics::EventRecord::Level::warning, "restart_needed", {{"keys", keys}},
        "these differ from what they were at the start, and change with a restart only");
}

std::vector<std::string> Gateway::health() const {
  std::vector<std::string> reasons;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const auto since = workers_[i]->since_last_turn();
    if (since < stuck) continue;
    reasons.push_back("worker " + std::to_string(i) + " has not answered for " +
                      std::to_string(std::chrono::floor<std::chrono::seconds>(since).count()) + " seconds");
  }
  return reasons;
}

std::vector<std::string> Gateway::readiness() const {
  std::vector<std::string> reasons = health();
  if (draining_) reasons.emplace_back("draining");
  if (!serving_) reasons.emplace_back("starting");
  for (std::size_t i = 0; i < snapshot_->config->upstreams.size(); ++i) {
    if (!snapshot_->health->any_up(i)) reasons.push_back(upstream_reason(i));
  }
  std::string auth = snapshot_->lasting.auth_health->not_ready(*snapshot_->config);
  if (!auth.empty()) reasons.push_back(std::move(auth));
  return reasons;
}

// Each server with what its last probe found.
std::string Gateway::upstream_reason(std::size_t index) const {
  const config::Upstream& upstream = snapshot_->config->upstreams[index];
  std::string reason = "no server of upstream " + upstream.name + " is up";
  for (std::size_t i = 0; i < upstream.servers.size(); ++i) {
    const std::string text = snapshot_->health->text(index, i);
    if (text.empty()) continue;  // not probed yet
    const config::Server& server = upstream.servers[i];
    reason += "; " + server.host + ':' + std::to_string(server.port) + ": " + text;
  }
  return reason;
}

void Gateway::collect() {
  const Lasting& lasting = snapshot_->lasting;
  const auto now = std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  metrics::Levels& levels = lasting.telemetry->levels;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    levels.set<metrics::Metric::worker_turn_age>(
        i, std::chrono::duration<double>(workers_[i]->since_last_turn()).count());
  }
  const auto sink = metrics::Sink{static_cast<std::uint8_t>(at_start_->journal.sink)};
  levels.set<metrics::Metric::log_records_dropped>(sink, static_cast<double>(lasting.journal->dropped()));
  levels.set<metrics::Metric::auth_blocked_entries>(
      metrics::AuthScope::network, static_cast<double>(lasting.lockout->blocked_networks(now)));
  levels.set<metrics::Metric::auth_blocked_entries>(
      metrics::AuthScope::login, static_cast<double>(lasting.lockout->blocked_logins(now)));
}

std::size_t Gateway::sessions() const {
  std::size_t count = 0;
  for (const auto& worker : workers_) count += worker->sessions();
  return count;
}

}  // namespace portcullis::net
