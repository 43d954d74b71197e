// The running program: main loop (signals, probe, admin server, watchdog) and the workers.
//
//   Gateway gateway(snapshot, sockets, hooks);
//   return gateway.run();      // until SIGTERM or SIGINT and the drain that follows
#pragma once

#include <uv.h>

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/admin.h"
#include "proxy/net/prober.h"
#include "proxy/net/service_manager.h"
#include "proxy/net/snapshot.h"
#include "proxy/net/uv_calls.h"
#include "proxy/net/worker.h"

namespace portcullis::net {

class Gateway {
 public:
  // Reads the configuration again (SIGHUP); null when it is not usable, with the problems told already.
  using Load = std::function<std::shared_ptr<const config::Config>()>;
  // What outlives configurations and has settings in them: called with each that is taken on a reload.
  using Taken = std::function<void(const config::Config&)>;
  // `housekeeping` is called about once a minute on the main loop.
  Gateway(std::shared_ptr<const Snapshot> snapshot, std::vector<std::vector<BoundSocket>> sockets, Load load,
          Taken taken, std::function<void()> housekeeping);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // Runs until stopped; returns the exit code. The error is why it did not start.
  std::expected<int, std::string> run();

 private:
  void on_signal(int number);
  void tick();
  std::expected<void, std::string> start_loop();
  void start_workers();
  // What a reload makes before anything of it is in use.
  struct Fresh {
    std::shared_ptr<const Snapshot> snapshot;
    std::vector<std::vector<BoundSocket>> sockets;
  };
  std::expected<Fresh, std::string> prepare();
  void reload();
  void take(Fresh fresh);
  void reload_failed(const std::string& why);
  void guarded(const char* what, const std::function<void()>& task) noexcept;
  void tell_what_needs_a_restart();
  void look_at_memory();
  void drain();
  void finish();
  void collect();
  std::vector<std::string> readiness() const;
  std::vector<std::string> health() const;
  void share_out_descriptors();
  std::string upstream_reason(std::size_t index) const;
  void upstream_changed(const config::Upstream& upstream, const config::Server& server, Prober::Change change,
                        const std::string& text);
  void event(metrics::EventRecord::Level level, std::string name,
             std::vector<std::pair<std::string, std::string>> fields, std::string message);
  std::size_t sessions() const;

  std::shared_ptr<const Snapshot> snapshot_;
  std::vector<std::vector<BoundSocket>> sockets_;
  Load load_;
  Taken taken_;
  std::shared_ptr<const config::Config> at_start_;
  std::function<void()> housekeeping_;
  std::int64_t housekeeping_due_ms_ = 0;
  std::int64_t memory_due_ms_ = 0;
  uv_loop_t loop_{};
  uv::Status loop_ready_ = 0;
  std::size_t signals_ready_ = 0;
  std::vector<uv_signal_t> signals_;
  uv_timer_t timer_{};
  std::vector<char> read_buffer_, plain_buffer_;
  LoopContext context_;
  std::unique_ptr<Prober> prober_;
  AuthProber auth_prober_;
  std::unique_ptr<AdminServer> admin_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::int64_t started_ms_ = 0;
  std::int64_t drain_end_ms_ = 0;
  ServiceManager manager_;
  std::string start_error_;
  bool serving_ = false;
  bool reload_wanted_ = false;  // while it was starting
  bool draining_ = false;
  bool killed_ = false;
  bool finished_ = false;
};

}  // namespace portcullis::net
