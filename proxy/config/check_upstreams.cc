#include <algorithm>

#include "policy/ip.h"
#include "proxy/config/check.h"
#include "smtp/command.h"

namespace portcullis::config {

namespace {

void check_tls(const Check& check, const Upstream& upstream, const std::string& path) {
  if (upstream.implicit_tls && upstream.tls == UpstreamTls::off) {
    check.error(path + ".implicit_tls", "contradicts tls = \"off\"");
  }
  if (upstream.tls != UpstreamTls::verified || !upstream.server_name.empty()) return;
  for (const Server& server : upstream.servers) {
    if (policy::parse_ip(server.host)) {
      check.warning(path + ".servers", server.host +
                                           " is verified as an address, which few certificates have; "
                                           "server_name would give the name");
    }
  }
}

void check_credentials(const Check& check, const Upstream& upstream, const std::string& path) {
  const bool password = check.given(path + ".password") || check.given(path + ".password_file");
  if (upstream.login.empty()) {
    if (password) check.error(path + ".password", "is of no use without login");
    return;
  }
  if (!password) check.error(path + ".login", "needs password or password_file");
  const bool remote = std::any_of(upstream.servers.begin(), upstream.servers.end(),
                                  [](const Server& server) { return !is_loopback_host(server.host); });
  if (remote && (upstream.tls == UpstreamTls::off || upstream.tls == UpstreamTls::opportunistic)) {
    check.error(path + ".tls",
                "would send the gateway's password in clear; with login it must be "
                "\"required\" or \"verified\"");
  }
}

void check_sharing(const Check& check, const Upstream& upstream, const std::string& path) {
  if (upstream.stalled_after_seconds < upstream.slow_after_seconds) {
    check.error(path + ".stalled_after", "is shorter than slow_after");
  }
}

// Whether `server` is this very gateway.
bool is_ours(const Config& config, const Server& server) {
  const auto address = policy::parse_ip(server.host);
  for (const Listener& listener : config.listeners) {
    for (const Socket& socket : listener.sockets) {
      const bool any = socket.address == policy::IpAddress{.octets = {}, .v6 = socket.address.v6};
      const bool same = address && (socket.address == *address || (any && is_loopback(*address)));
      if (same && socket.port == server.port && server.port != 0) return true;
    }
  }
  return false;
}

}  // namespace

void check_upstreams(const Check& check) {
  if (check.config.upstreams.empty() && !check.given("upstream")) {
    check.error("upstream", "missing; without an [[upstream]] nobody takes the mail");
  }
  for (std::size_t i = 0; i < check.config.upstreams.size(); ++i) {
    const Upstream& upstream = check.config.upstreams[i];
    const std::string path = indexed("upstream", i);
    check_tls(check, upstream, path);
    check_credentials(check, upstream, path);
    check_sharing(check, upstream, path);
    if (!upstream.helo.empty() && !smtp::is_valid_helo(upstream.helo)) {
      check.error(path + ".helo", "\"" + upstream.helo + "\" is not a domain or address literal");
    }
    for (const Server& server : upstream.servers) {
      if (is_ours(check.config, server)) {
        check.error(path + ".servers", server.host + " port " + std::to_string(server.port) +
                                           " is a listener of this gateway: mail would go round in a loop");
      }
    }
  }
}

}  // namespace portcullis::config
