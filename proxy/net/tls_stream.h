// TLS over bytes, not over sockets: ciphertext in, plaintext out, and back. The BIO is two pointers
// into the caller's buffers, so an idle connection owns no TLS buffers of ours.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "metrics/labels.h"
#include "proxy/net/tls_context.h"

namespace portcullis::net {

class TlsStream {
 public:
  explicit TlsStream(SslPtr ssl);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  enum class Status { ok, handshaking, closed, failed };

  // Ciphertext from the peer; what it leaves undecided stays with BoringSSL. Handshake messages to
  // send are appended to `out` (ciphertext).
  //   ciphertext(bytes);  while ((n = read(buffer, out)) > 0) …
  void ciphertext(std::string_view bytes) { input_ = bytes; }
  // Goes on with the handshake: ok when it is done (now or before).
  Status handshake(std::string& out);
  // Decrypts into `buffer`; 0 when there is no more (status() then tells why).
  std::size_t read(std::span<char> buffer, std::string& out);
  // Encrypts; false on failure.
  bool write(std::string_view plain, std::string& out);
  // close_notify, once.
  void shutdown(std::string& out);
  Status status() const { return status_; }
  // The peer's close_notify (closed) ends what it says, not what it is told (RFC 8446 6.1).
  bool may_write() const {
    return status_ == Status::ok || (status_ == Status::closed && SSL_in_init(ssl_.get()) == 0);
  }
  SSL* ssl() const { return ssl_.get(); }
  const std::string& error() const { return error_; }
  metrics::TlsFailure failure() const { return failure_; }

 private:
  static int bio_read(BIO* bio, char* data, int size);
  static int bio_write(BIO* bio, const char* data, int size);
  static long bio_ctrl(BIO* bio, int command, long number, void* pointer);
  static const BIO_METHOD* method();
  void failed(int result);

  SslPtr ssl_;
  std::string_view input_;
  std::string* output_ = nullptr;
  Status status_ = Status::handshaking;
  std::string error_;
  metrics::TlsFailure failure_ = metrics::TlsFailure::other;
};

}  // namespace portcullis::net
