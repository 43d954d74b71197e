// A non-blocking connection of the load generator: TCP, and TLS on top of it when asked for.
#pragma once

#include <netinet/in.h>
#include <openssl/ssl.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "tests/bench/load/options.h"

namespace portcullis::bench {

class Transport {
 public:
  Transport() = default;
  ~Transport() { close(); }
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  enum class Progress { done, again, failed };

  // Begins to connect; false: not even that.
  bool connect(const sockaddr_in& address);
  int fd() const { return fd_; }
  // `session` may be null; it is offered for resumption.
  bool start_tls(SSL_CTX* context, SSL_SESSION* session);
  Progress handshake();
  bool tls() const { return ssl_ != nullptr; }
  bool resumed() const { return ssl_ && SSL_session_reused(ssl_.get()) == 1; }

  static constexpr int again = -1;
  static constexpr int ended = 0;
  // Octets read or written, `again`, or `ended` (also after an error).
  int read(std::span<char> buffer);
  int write(std::string_view bytes);
  void close();

 private:
  int fd_ = -1;
  bssl::UniquePtr<SSL> ssl_;
};

}  // namespace portcullis::bench
