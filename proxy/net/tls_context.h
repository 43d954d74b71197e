// TLS contexts (BoringSSL), made from files once per configuration snapshot and shared by all workers:
// server side with several certificates by SNI, client certificates and rotated ticket keys; client
// side for upstreams with or without verification.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/session/environment.h"

namespace portcullis::net {

using SslPtr = bssl::UniquePtr<SSL>;

// Keys that session tickets are sealed with. The current key seals; the one before still opens, so
// that a rotation breaks no resumption in flight (RFC 5077 5.5). Shared by all snapshots: a reload
// does not forget sessions. Thread-safe.
class TicketKeys {
 public:
  explicit TicketKeys(std::chrono::hours lifetime);
  ~TicketKeys();
  void set_lifetime(std::chrono::hours lifetime);
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;
  // The callback of SSL_CTX_set_tlsext_ticket_key_cb.
  int seal_or_open(std::uint8_t* name, std::uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* hmac, bool seal);

 private:
  struct Key;
  void rotate_if_due();
  std::chrono::hours lifetime_;
  std::mutex mutex_;
  std::vector<Key> keys_;  // newest first, at most two
  std::chrono::steady_clock::time_point newest_made_;
};

struct CertificateFacts {
  std::string file;
  std::chrono::system_clock::time_point not_after;
  std::vector<std::string> names;  // SAN dNSNames, lower case
};

class ServerTls {
 public:
  // Errors are sentences with the file's name. `ticket_keys` may be null (no tickets).
  static std::expected<std::shared_ptr<ServerTls>, std::string> make(const config::Tls& settings,
                                                                     std::shared_ptr<TicketKeys> ticket_keys);
  ~ServerTls();
  // A new server-side SSL, client certificates asked for and cipher suites taken as the listener wants.
  SslPtr session(config::ClientCertificate client_certificate,
                 config::TlsProfile profile = config::TlsProfile::modern) const;
  const std::vector<CertificateFacts>& certificates() const { return facts_; }

 private:
  ServerTls() = default;
  struct Entry {
    bssl::UniquePtr<SSL_CTX> context;
    std::vector<std::string> names;
  };
  const Entry* entry_for(std::string_view server_name) const;
  [[nodiscard]] bool bind_tickets(SSL* ssl, config::TlsProfile profile) const;
  static int on_server_name(SSL* ssl, int* alert, void* self);
  std::vector<Entry> entries_;
  std::array<std::uint8_t, SSL_MAX_SID_CTX_LENGTH> client_trust_{};  // digest of the client CAs
  std::vector<CertificateFacts> facts_;
  std::shared_ptr<TicketKeys> ticket_keys_;
};

class ClientTls {
 public:
  static std::expected<std::shared_ptr<ClientTls>, std::string> make(const config::Upstream& settings);
  // `host`: what SNI says and, where verification is on, what the certificate must be for.
  SslPtr session(const std::string& host) const;

 private:
  ClientTls() = default;
  bssl::UniquePtr<SSL_CTX> context_;
  bool verify_ = false;
};

// What a finished server-side handshake told, client certificate mapped to a login (EXTERNAL).
session::TlsFacts tls_facts(SSL* ssl, const config::CertificateLogin& mapping);

}  // namespace portcullis::net
