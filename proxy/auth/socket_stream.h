// A TCP connection used from one thread with a deadline on every operation. With TLS on top after
// start_tls (tls_client.h). Errors are sentences for the journal.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

namespace portcullis::auth {

class TlsSession;
class TlsClient;

class SocketStream {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  // Tries every address of the name. Resolving itself can not be interrupted.
  static std::expected<SocketStream, std::string> connect(const std::string& host, std::uint16_t port,
                                                          Deadline deadline);
  SocketStream(SocketStream&& other) noexcept;
  SocketStream& operator=(SocketStream&&) = delete;
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;
  ~SocketStream();

  std::expected<void, std::string> start_tls(const TlsClient& client, const std::string& server_name,
                                             Deadline deadline);
  std::expected<void, std::string> write(std::string_view bytes, Deadline deadline);
  // At least one octet, at most `octets`, appended to `out`.
  std::expected<void, std::string> read(std::string& out, std::size_t octets, Deadline deadline);
  bool is_loopback() const;  // the peer's address

  // For the TLS session: waits until the socket is readable (or writable); false at the deadline.
  static bool wait(int fd, bool writable, Deadline deadline);

 private:
  explicit SocketStream(int fd);
  int fd_;
  std::unique_ptr<TlsSession> tls_;
};

}  // namespace portcullis::auth
