// A TCP connection used from one thread with a deadline on every operation. With TLS on top after
// start_tls (tls_client.h). Errors are sentences for the journal.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/dns/address_book.h"

namespace portcullis::auth {

class TlsSession;
class TlsClient;

// One of the addresses of a server's name.
class PeerAddress {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  PeerAddress() = default;
  PeerAddress(dns::AddressBook& book, std::string host, const dns::Address& address, std::size_t others)
      : book_(&book), host_(std::move(host)), address_(address), others_(others) {}
  // Whether the name has another address that was not tried and has not failed lately.
  bool has_other() const { return others_ > 0; }
  // How much of the time until `deadline` this one may take.
  Deadline share_of(Deadline deadline) const;
  // It does not answer: it comes last for a while.
  void blame() const;

 private:
  dns::AddressBook* book_ = nullptr;
  std::string host_;
  dns::Address address_{};
  std::size_t others_ = 0;
};

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
  const PeerAddress& peer() const { return peer_; }
  // The socket, non-blocking, for somebody else to close.
  int release() { return std::exchange(fd_, -1); }
  // Until the server has sent something.
  bool wait_readable(Deadline deadline) const { return wait(fd_, false, deadline); }

  // For the TLS session: waits until the socket is readable (or writable); false at the deadline.
  static bool wait(int fd, bool writable, Deadline deadline);

 private:
  explicit SocketStream(int fd);
  int fd_;
  PeerAddress peer_;
  std::unique_ptr<TlsSession> tls_;
};

}  // namespace portcullis::auth
