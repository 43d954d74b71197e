// A TCP connection that may turn to TLS: plaintext out of whatever the peer sends, and back. Used for
// both sides.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "metrics/labels.h"
#include "proxy/net/tcp_stream.h"
#include "proxy/net/tls_stream.h"

namespace portcullis::net {

class SecureStream final : public TcpStream::Handler {
 public:
  class Handler {
   public:
    virtual void on_connected(int status) noexcept { (void)status; }
    virtual void on_plain(std::string_view bytes) noexcept = 0;
    virtual void on_tls_established() noexcept = 0;
    virtual void on_tls_failed(const std::string& error) noexcept = 0;
    virtual void on_end(bool reset) noexcept = 0;
    virtual void on_flushed() noexcept = 0;
    virtual bool on_sending() noexcept { return true; }

   protected:
    ~Handler() = default;
  };

  SecureStream(LoopContext& context, Handler& handler)
      : context_(context), handler_(handler), tcp_(context, *this) {}

  TcpStream& tcp() { return tcp_; }
  const TcpStream& tcp() const { return tcp_; }
  // A socket of its own, without TLS, for another attempt to connect.
  void reopen() {
    tls_.reset();
    tcp_.reopen();
  }
  // From now on TLS; a client sends its first message at once.
  void start_tls(SslPtr ssl);
  bool tls() const { return tls_ != nullptr; }
  bool handshaking() const { return tls_ && tls_->status() == TlsStream::Status::handshaking; }
  // Why the handshake failed.
  metrics::TlsFailure tls_failure() const { return tls_ ? tls_->failure() : metrics::TlsFailure::other; }
  SSL* ssl() const { return tls_ ? tls_->ssl() : nullptr; }
  // Dropped while a handshake is under way: nothing goes out in the clear then.
  void write(const session::Output& bytes, When when = When::soon);
  void close_notify();
  // Bytes that were read before anybody knew whose they are.
  void receive(std::string_view bytes) { on_bytes(bytes); }

 private:
  void on_connected(int status) noexcept override { handler_.on_connected(status); }
  void on_bytes(std::string_view bytes) noexcept override;
  void on_end(bool reset) noexcept override { handler_.on_end(reset); }
  void on_flushed() noexcept override { handler_.on_flushed(); }
  bool on_sending() noexcept override { return handler_.on_sending(); }
  void encrypt(const session::Output& bytes);
  void encrypt_gathered(const session::Output& bytes);
  void flush_cipher(When when = When::soon);

  LoopContext& context_;
  Handler& handler_;
  TcpStream tcp_;
  std::unique_ptr<TlsStream> tls_;
};

}  // namespace portcullis::net
