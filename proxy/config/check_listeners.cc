#include <algorithm>
#include <vector>

#include "policy/ip.h"
#include "proxy/config/check.h"
#include "proxy/config/overlap.h"

namespace portcullis::config {

namespace {

bool some_network(const Config& config, bool policy::Network::* permission) {
  return std::any_of(config.policy.networks.begin(), config.policy.networks.end(),
                     [&](const policy::Network& network) { return network.*permission; });
}

void check_sockets(const Check& check, const Listener& listener, const std::string& path) {
  const bool address = check.given(path + ".address"), systemd = check.given(path + ".systemd");
  if (!address && !systemd) check.error(path, "has neither address nor systemd: where should it listen?");
  if (address && systemd) check.error(path + ".systemd", "address and systemd exclude each other");
  if (listener.proxy_protocol && !some_network(check.config, &policy::Network::may_send_proxy_header)) {
    check.error(path + ".proxy_protocol",
                "no [[network]] has may_send_proxy_header, so nobody could connect");
  }
}

void check_upstream_name(const Check& check, const Listener& listener, const std::string& path) {
  const auto& upstreams = check.config.upstreams;
  if (listener.upstream.empty()) {
    if (upstreams.size() > 1 && !check.given(path + ".upstream")) {
      check.error(path + ".upstream", "missing; there are several [[upstream]]s to choose from");
    }
    return;
  }
  const bool known = std::any_of(upstreams.begin(), upstreams.end(), [&](const Upstream& upstream) {
    return upstream.name == listener.upstream;
  });
  if (!known)
    check.error(path + ".upstream", "there is no [[upstream]] with the name \"" + listener.upstream + "\"");
}

void check_tls(const Check& check, const Listener& listener, const std::string& path) {
  const Tls& tls = check.config.tls;
  if (listener.tls != ListenerTls::off && tls.certificates.empty() && !check.given("tls.certificate")) {
    check.error(path + ".tls", "needs a certificate: [tls] certificate and private_key");
  }
  if (listener.tls_profile == TlsProfile::compatible) {
    if (listener.tls == ListenerTls::off)
      check.warning(path + ".tls_profile", "has no effect: tls is off here");
    if (listener.tls != ListenerTls::off && listener.auth == AuthMode::required) {
      check.warning(
          path + ".tls_profile",
          "lets passwords cross with old cipher suites; \"compatible\" is for mail from other servers");
    }
  }
  if (listener.client_certificate == ClientCertificate::off) return;
  if (listener.tls == ListenerTls::off)
    check.error(path + ".client_certificate", "needs TLS, which is off here");
  if (tls.client_ca.empty() && !check.given("tls.client_ca")) {
    check.error(path + ".client_certificate", "needs tls.client_ca to know whose signature counts");
  }
}

void check_auth_of(const Check& check, const Listener& listener, const std::string& path) {
  if (listener.auth == AuthMode::off) {
    if (!listener.mechanisms.empty()) check.warning(path + ".mechanisms", "has no effect: auth is off here");
    return;
  }
  const bool certificates = listener.client_certificate != ClientCertificate::off;
  if (check.config.auth.backends.empty() && !certificates && !check.given("auth.backends")) {
    check.error(path + ".auth", "nobody could log in: no backend is named in [auth] backends");
  }
  if (listener.tls != ListenerTls::off) return;
  if (!some_network(check.config, &policy::Network::may_auth_without_tls)) {
    check.error(
        path + ".auth",
        "AUTH without TLS: set tls, or name the networks that may with [[network]] may_auth_without_tls");
  } else {
    check.warning(path + ".auth", "passwords cross the network in clear: tls is off here");
  }
}

void check_mechanisms(const Check& check, const Listener& listener, const std::string& path) {
  const auto& backends = check.config.auth.backends;
  const bool imap = std::find(backends.begin(), backends.end(), auth::BackendKind::imap) != backends.end();
  for (const std::string& mechanism : listener.mechanisms) {
    if ((mechanism == "XOAUTH2" || mechanism == "OAUTHBEARER") && !imap) {
      check.error(path + ".mechanisms", mechanism + " needs the backend \"imap\"");
    }
    if (mechanism == "EXTERNAL" && listener.client_certificate == ClientCertificate::off) {
      check.error(path + ".mechanisms", "EXTERNAL needs client_certificate");
    }
  }
}

// Port 25 for the Internet takes mail for our domains; without any, it could only refuse.
void check_local_domains(const Check& check, const Listener& listener, const std::string& path) {
  if (listener.auth == AuthMode::required || !check.config.policy.local_domains.empty()) return;
  if (check.given("local_domains") && check.reader.failed()) return;
  if (some_network(check.config, &policy::Network::may_relay)) return;
  check.error(path + ".auth", "takes mail without a login, but local_domains names no domain to take it for");
}

// No two sockets of the whole configuration may want the same address: whichever is bound last would not
// start, or would take a share of the other's connections.
void check_overlaps(const Check& check) {
  struct Place {
    Socket socket;
    std::string path;
  };
  std::vector<Place> places;
  const auto add = [&](const Socket& socket, const std::string& path) {
    const auto taken = std::find_if(places.begin(), places.end(),
                                    [&](const Place& place) { return overlap(place.socket, socket); });
    if (taken != places.end()) {
      const bool same = taken->socket.address == socket.address;
      check.error(path, "port " + std::to_string(socket.port) + " of " + policy::to_string(socket.address) +
                            " is already taken by " + taken->path +
                            (same ? "" : " (" + policy::to_string(taken->socket.address) + ')'));
    }
    places.push_back({socket, path});
  };
  for (std::size_t i = 0; i < check.config.listeners.size(); ++i) {
    for (const Socket& socket : check.config.listeners[i].sockets)
      add(socket, indexed("listener", i) + ".address");
  }
  for (const Socket& socket : check.config.admin.sockets) add(socket, "metrics.address");
}

void check_systemd_names(const Check& check) {
  const auto& all = check.config.listeners;
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t other = 0; other < i && !all[i].systemd_name.empty(); ++other) {
      if (all[i].systemd_name != all[other].systemd_name) continue;
      check.error(indexed("listener", i) + ".systemd",
                  '"' + all[i].systemd_name + "\" is already the socket of " + indexed("listener", other));
    }
  }
}

}  // namespace

void check_listeners(const Check& check) {
  if (check.config.listeners.empty() && !check.given("listener")) {
    check.error("listener", "missing; without a [[listener]] there is nothing to do");
  }
  for (std::size_t i = 0; i < check.config.listeners.size(); ++i) {
    const Listener& listener = check.config.listeners[i];
    const std::string path = indexed("listener", i);
    check_sockets(check, listener, path);
    check_upstream_name(check, listener, path);
    check_tls(check, listener, path);
    check_auth_of(check, listener, path);
    check_mechanisms(check, listener, path);
    check_local_domains(check, listener, path);
  }
  check_overlaps(check);
  check_systemd_names(check);
  for (const Socket& socket : check.config.admin.sockets) {
    if (!is_loopback(socket.address)) {
      check.warning("metrics.address", policy::to_string(socket.address) +
                                           " is not loopback: whoever reaches it reads the metrics");
    }
  }
}

}  // namespace portcullis::config
