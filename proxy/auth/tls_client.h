// TLS as a client of a mail server (BoringSSL), for a backend's own threads: blocking with deadlines. The
// certificate must be signed by a known authority and carry the server's name (RFC 9525), unless the admin
// said not to verify.
#pragma once

#include <chrono>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

struct ssl_ctx_st;
struct ssl_st;

namespace portcullis::auth {

class TlsSession {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  TlsSession(ssl_st* ssl, int fd) : ssl_(ssl), fd_(fd) {}
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  ~TlsSession();

  // `server_name` as in TlsClient::handshake.
  std::expected<void, std::string> handshake(const std::string& server_name, bool verify, Deadline deadline);
  std::expected<void, std::string> write(std::string_view bytes, Deadline deadline);
  std::expected<void, std::string> read(std::string& out, std::size_t octets, Deadline deadline);

 private:
  // After a call that returned `result` <= 0: nothing when it is worth another try.
  std::expected<void, std::string> again(int result, Deadline deadline);
  ssl_st* ssl_;
  int fd_;
};

// What all sessions of a backend share; thread-safe.
class TlsClient {
 public:
  // `ca_file` empty: the system's authorities.
  static std::expected<TlsClient, std::string> create(const std::string& ca_file, bool verify);

  // Over a connected non-blocking socket, which stays the caller's.
  std::expected<std::unique_ptr<TlsSession>, std::string> handshake(int fd, const std::string& server_name,
                                                                    TlsSession::Deadline deadline) const;

 private:
  explicit TlsClient(std::shared_ptr<ssl_ctx_st> context, bool verify)
      : context_(std::move(context)), verify_(verify) {}
  std::shared_ptr<ssl_ctx_st> context_;
  bool verify_;
};

}  // namespace portcullis::auth
