// The whole configuration as the program uses it: checked, with every name resolved. What each key
// means to an admin stands once, in its row (proxy/config/rows_*.cc) and from there in
// docs/configuration.md and portcullis.toml(5).
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/journal.h"
#include "policy/settings.h"
#include "proxy/auth/settings.h"
#include "smtp/body.h"
#include "smtp/limits.h"

namespace portcullis::config {

enum class ListenerTls : std::uint8_t { off, starttls, implicit };
// Which TLS 1.2 cipher suites a listener takes: forward secrecy with AEAD, or for old servers all that is not
// broken.
enum class TlsProfile : std::uint8_t { modern, compatible };
enum class AuthMode : std::uint8_t { off, optional, required };
enum class ClientCertificate : std::uint8_t { off, request, require };
enum class UpstreamTls : std::uint8_t { off, opportunistic, required, verified };
enum class ClientIdentity : std::uint8_t { none, xforward, xclient };

struct Socket {
  policy::IpAddress address;
  std::uint16_t port = 0;
  bool operator==(const Socket&) const = default;
};

struct Certificate {
  std::string certificate;                // PEM chain file, leaf first
  std::string private_key;                // PEM file
  std::vector<std::string> server_names;  // SNI; empty: from the certificate's SANs
};

struct Tls {
  std::vector<Certificate> certificates;   // the first is the default
  std::uint16_t minimum_version = 0x0303;  // TLS 1.2
  std::vector<std::string> curves;         // empty: library default (X25519, P-256, P-384)
  std::string client_ca;                   // PEM bundle for client certificates
  std::uint32_t ticket_key_hours = 12;     // rotation; 0: no session tickets
};

// EXTERNAL: how a client certificate names a login.
struct CertificateLogin {
  enum class From : std::uint8_t { san_email, san_dns, subject_cn } from = From::san_email;
  std::vector<std::pair<std::string, std::string>> map;  // exact value -> login; empty: value is login
  bool operator==(const CertificateLogin&) const = default;
};

struct ListenerLimits {
  std::uint32_t command_timeout_seconds = 300;   // RFC 5321 4.5.3.2: 5 minutes
  std::uint32_t data_timeout_seconds = 180;      // between two reads of body
  std::uint32_t greeting_timeout_seconds = 60;   // accept to first command, TLS handshake included
  std::uint32_t session_timeout_seconds = 3600;  // the whole session
  std::uint32_t minimum_bytes_per_second = 100;  // of body, averaged, after a grace of 60 s
  std::uint32_t recipients = smtp::limits::recipients_default;
  std::uint64_t message_octets = smtp::limits::message_octets_default;
  std::uint32_t header_octets = smtp::limits::header_block_octets_default;
  std::uint32_t errors = 20;                  // 4xx/5xx of ours before 421
  std::uint32_t auth_attempts = 5;            // failed per session before 421
  std::uint32_t commands_without_mail = 100;  // NOOP, RSET, EHLO, VRFY… in a row before 421
  std::uint32_t connections = 20000;          // of this listener
  bool operator==(const ListenerLimits&) const = default;
};

struct Listener {
  std::string name;
  std::vector<Socket> sockets;  // "address" takes one or a list
  std::string systemd_name;     // FileDescriptorName of a passed socket, instead of address
  ListenerTls tls = ListenerTls::starttls;
  TlsProfile tls_profile = TlsProfile::modern;
  AuthMode auth = AuthMode::required;
  std::vector<std::string> mechanisms;  // empty: all that the backends take
  ClientCertificate client_certificate = ClientCertificate::off;
  bool proxy_protocol = false;  // expected from networks that may send it
  std::string banner;           // after "220 hostname "; default "ESMTP"
  std::string upstream;         // name
  ListenerLimits limits;
  smtp::BareLf bare_lf = smtp::BareLf::refuse;
  bool hide_client_in_received = false;  // leave address and HELO of authenticated clients out
  bool hide_login_in_received = true;
  bool operator==(const Listener&) const = default;
};

struct Server {
  std::string host;  // name or address
  std::uint16_t port = 25;
  bool operator==(const Server&) const = default;
};

struct Upstream {
  std::string name;
  std::vector<Server> servers;  // in order of preference
  UpstreamTls tls = UpstreamTls::opportunistic;
  bool implicit_tls = false;
  std::string ca_file;          // empty: the system's
  std::string server_name;      // verified name and SNI; empty: the host
  std::string login, password;  // optional gateway credentials
  ClientIdentity client_identity = ClientIdentity::none;
  bool trusted_for_auth = false;       // send MAIL AUTH=<login>
  bool assume_eight_bit = false;       // pass 8-bit though 8BITMIME is not offered
  bool chunking = false;               // use BDAT where offered
  std::string helo;                    // empty: hostname
  std::uint32_t connections_max = 50;  // per worker and server
  std::uint32_t idle_max = 10;         // kept for reuse, per worker and server
  std::uint32_t idle_seconds = 60;
  std::uint32_t transactions_per_connection = 100;
  std::uint32_t waiting_max = 1000;  // sessions waiting for a connection, per worker
  std::uint32_t waiting_seconds = 30;
  std::uint32_t client_share_percent = 90;   // of connections_max: the most that one client may hold
  std::uint32_t reserved_for_users = 10;     // percent of connections_max that only logins may hold
  std::uint32_t slow_after_seconds = 1;      // of waiting for a holder, while others wait
  std::uint32_t slow_rate = 1000;            // octets a second of a client that is not slow
  std::uint32_t stalled_after_seconds = 10;  // as slow_after_seconds, whatever share the holder has
  std::uint32_t errors_per_connection = 3;   // refusals before it is closed instead of used again
  std::uint32_t connect_timeout_seconds = 10;
  std::uint32_t command_timeout_seconds = 60;
  std::uint32_t data_timeout_seconds = 180;         // write stall during the body
  std::uint32_t end_of_data_timeout_seconds = 600;  // RFC 5321 4.5.3.2.6: 10 minutes
  std::uint32_t probe_seconds = 15;                 // health probe interval
  bool operator==(const Upstream&) const = default;
};

struct Admin {
  std::vector<Socket> sockets = {{policy::IpAddress{{127, 0, 0, 1}}, 9925}};  // empty: off
  std::uint32_t connections = 32;
  std::uint32_t timeout_seconds = 10;
  bool operator==(const Admin&) const = default;
};

// A PEM file that the configuration names, and where it does: what is in the file is looked into after
// loading.
struct PemFile {
  enum class Kind : std::uint8_t { certificate, authorities } kind = Kind::certificate;
  std::string file;
  std::string private_key;  // of a certificate
  std::string key;          // "tls.certificate"
  std::uint32_t line = 0, column = 0;
};

struct Config {
  std::string path;  // the file this came from
  std::vector<PemFile> pem_files;
  std::string hostname;
  std::uint32_t workers = 1;                       // 0 in the file: one per CPU
  std::string user, group;                         // to drop to after binding; empty: stay
  std::vector<std::string> public_suffixes_owned;  // may be in local_domains although strangers live below
  std::uint32_t received_fields_max = 100;         // RFC 5321 6.3
  std::uint64_t memory_octets_max = 0;             // 0: by the control group's
  std::uint32_t drain_seconds = 30;
  Tls tls;
  CertificateLogin certificate_login;
  std::vector<Listener> listeners;
  std::vector<Upstream> upstreams;
  auth::Settings auth;
  policy::Settings policy;
  metrics::JournalSettings journal;
  Admin admin;
  std::string state_path;  // SQLite file; empty: memory only
};

// One thing wrong with a configuration.
struct Problem {
  enum class Severity : std::uint8_t { error, warning } severity = Severity::error;
  std::string file;
  std::uint32_t line = 0, column = 0;  // 0: the file as a whole
  std::string key;                     // "listener[2].tls"
  std::string text;                    // what is wrong and what was expected
};
std::string to_string(const Problem& problem);  // "file:line:column: error: key: text"

struct Loaded {
  std::shared_ptr<const Config> config;  // null when there was an error
  std::vector<Problem> problems;         // all of them at once, errors and warnings
};

// Reads and checks a file (or text). Everything that can be checked without a network is: unknown
// keys with a suggestion, types, ranges, names that refer to nothing, duplicates, unreadable or
// world-readable key files, open relay.
Loaded load(const std::string& path);
Loaded load_text(std::string_view text, const std::string& name);

}  // namespace portcullis::config
