#include "proxy/config/descriptors.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace portcullis::config {

namespace {

constexpr std::uint64_t process_own =
    32;  // standard streams, journal, state store, files read on a reload, spare
constexpr std::uint64_t main_loop = 6;    // its epoll, wake-up and signal descriptors
constexpr std::uint64_t worker_loop = 5;  // as the main one's, and one connection that is being refused
constexpr std::uint64_t resolver = 8;     // four threads of libuv look up names, each with up to two sockets
constexpr std::uint64_t usual_limit = 1024;
constexpr std::uint64_t least_left = 16;  // below this the gateway could serve nobody

std::uint64_t sockets_of(const Config& config) {
  std::uint64_t sockets = 0;
  for (const Listener& listener : config.listeners)
    sockets += std::max<std::uint64_t>(listener.sockets.size(), 1);
  return sockets;
}

std::uint64_t inherited_descriptors() {
  std::error_code error;
  std::uint64_t open = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error)) {
    ++open;
  }
  constexpr std::uint64_t ours = 4;  // the standard streams, and the directory that is read
  return error || open < ours ? 0 : open - ours;
}

std::uint64_t backend_connections(const auth::Settings& settings) {
  std::uint64_t connections = 0;
  for (const auth::BackendKind kind : settings.backends) {
    if (kind == auth::BackendKind::ldap) connections += settings.ldap.limits.connections_max;
    if (kind == auth::BackendKind::imap) connections += settings.imap.limits.connections_max;
  }
  return connections;
}

}  // namespace

Descriptors descriptors_of(const Config& config) {
  const std::uint64_t workers = std::max(1U, config.workers);
  Descriptors needed;
  std::uint64_t servers = 0;
  for (const Upstream& upstream : config.upstreams) {
    servers += upstream.servers.size();
    needed.upstream += workers * upstream.servers.size() * upstream.connections_max;
    needed.idle_upstream += workers * upstream.servers.size() * upstream.idle_max;
  }
  needed.own = process_own + main_loop + resolver + servers + workers * (worker_loop + sockets_of(config)) +
               backend_connections(config.auth);
  if (!config.admin.sockets.empty()) needed.own += config.admin.sockets.size() + config.admin.connections;
  return needed;
}

std::uint64_t descriptor_limit() {
  static const std::uint64_t inherited = inherited_descriptors();
  rlimit limit{};
  const std::uint64_t most = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : usual_limit;
  return most - std::min(most, inherited);
}

std::uint64_t descriptor_hard_limit() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : usual_limit;
}

// A client needs at most one connection to an upstream server: where there are few descriptors, two for each
// client and those of idle connections are enough, whatever connections_max would allow.
std::uint64_t clients_within(const Descriptors& needed, std::uint64_t limit) {
  if (limit < needed.own + least_left) return 0;
  const std::uint64_t left = limit - needed.own;
  const std::uint64_t pairs = (left - std::min(needed.idle_upstream, left / 4)) / 2;
  return std::max(pairs, left > needed.upstream ? left - needed.upstream : 0);
}

std::string descriptor_error(const Config& config, std::uint64_t limit) {
  const Descriptors needed = descriptors_of(config);
  if (clients_within(needed, limit) > 0) return {};
  return fmt::format(
      "the process may open {} files (LimitNOFILE, ulimit -n, less those open already), and this "
      "configuration with {} workers needs at least {}; raise the limit, or lower workers, or "
      "connections_max of [metrics] or of the [auth] backends",
      limit, std::max(1U, config.workers), needed.own + least_left);
}

std::string descriptor_warning(const Config& config, std::uint64_t limit) {
  const Descriptors needed = descriptors_of(config);
  const std::uint64_t clients = clients_within(needed, limit);
  std::uint64_t wanted = 0;
  for (const Listener& listener : config.listeners) wanted += listener.limits.connections;
  if (wanted <= clients && needed.own + needed.upstream + wanted <= limit) return {};
  return fmt::format(
      "the process may open {} files (LimitNOFILE, ulimit -n): that is room for {} clients at a time, while "
      "the "
      "listeners' connections_max add up to {}, the upstreams' to {} (for each worker and server), and the "
      "gateway itself needs {}",
      limit, clients, wanted, needed.upstream, needed.own);
}

}  // namespace portcullis::config
