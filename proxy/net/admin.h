// The operators' door: /metrics, /healthz and /readyz over plain HTTP, on loopback by default.
//
// Bounded: so many connections, so many octets of a request, so long for a request and its response.
// One response is on its way at a time; while it is, nothing is read. When all connections are taken, the one
// that has waited longest for its client makes room: first those that have no complete request, then those
// whose client does not read its response. So nobody can keep /metrics from others by doing nothing.
//
//   auto server = AdminServer::listen(loop, config.admin, admin_routes(exporter, readiness), observer);
//   ...
//   (*server)->close();            // or the destructor; the loop must run on until all is closed
#pragma once

#include <uv.h>

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "metrics/exporter.h"
#include "metrics/http.h"
#include "proxy/config/config.h"

namespace portcullis::net {

// Why the gateway is not well, or not ready, one sentence each; empty: it is.
using Reasons = std::function<std::vector<std::string>()>;
struct Conditions {
  Reasons health;
  Reasons readiness;
};

// /metrics; /healthz and /readyz: 200, or 503 and the reasons.
metrics::HttpHandler admin_routes(metrics::Exporter& exporter, Conditions conditions);

// Called for each response, those to hostile requests included.
using AdminObserver = std::function<void(metrics::Route route, unsigned status)>;

class AdminServer {
 public:
  // Listens on every socket of `admin`, or on none: the error is a sentence. Callbacks run on `loop`.
  static std::expected<std::unique_ptr<AdminServer>, std::string> listen(uv_loop_t& loop,
                                                                         const config::Admin& admin,
                                                                         metrics::HttpHandler handler,
                                                                         AdminObserver observer);
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  // Stops listening and drops every connection. Idempotent.
  void close();
  // Of the sockets in their order; what the system chose where the configuration said 0.
  std::vector<std::uint16_t> ports() const;

 private:
  struct State;
  struct Connection;
  explicit AdminServer(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace portcullis::net
