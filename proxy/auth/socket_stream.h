// A TCP connection used from one thread with a deadline on every operation. With TLS on top after
// start_tls (tls_client.h). Errors are sentences for the journal.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/dns/address_book.h"

namespace portcullis::auth {

class TlsSession;
class TlsClient;

class SocketStream {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  // Tries every address of the name (RFC 5321 section 5.1 says why), each but the last within its share of
  // the time.
  static std::expected<SocketStream, std::string> connect(const std::string& host, std::uint16_t port,
                                                          Deadline deadline,
                                                          dns::AddressBook& book = dns::addresses());
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
  // Whether the name has another address that has not failed lately; then share_of() is the time that this
  // one may take of what is left until `deadline`, and after blame() it comes last for a while.
  bool has_other_address() const { return others_ > 0; }
  Deadline share_of(Deadline deadline) const;
  void blame() const;
  // Until the server has sent something.
  bool wait_readable(Deadline deadline) const { return wait(fd_, false, deadline); }

  // For the TLS session: waits until the socket is readable (or writable); false at the deadline.
  static bool wait(int fd, bool writable, Deadline deadline);

 private:
  explicit SocketStream(int fd);
  int fd_;
  dns::AddressBook* book_ = nullptr;
  std::string host_;
  dns::Address address_{};
  std::size_t others_ = 0;  // addresses left to try
  std::unique_ptr<TlsSession> tls_;
};

}  // namespace portcullis::auth
