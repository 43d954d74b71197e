#include "proxy/net/secure_stream.h"

#include <array>
#include <utility>

namespace portcullis::net {

namespace {

constexpr std::size_t record_octets = 16 * 1024;

}  // namespace

void SecureStream::start_tls(SslPtr ssl) {
  const bool client = SSL_is_server(ssl.get()) == 0;
  tls_ = std::make_unique<TlsStream>(std::move(ssl));
  if (client) {
    context_.cipher_out.clear();
    tls_->handshake(context_.cipher_out);
    flush_cipher();
  }
}

void SecureStream::flush_cipher(When when) {
  tcp_.write(context_.cipher_out, when);
  context_.cipher_out.clear();
}

void SecureStream::on_bytes(std::string_view bytes) noexcept {
  if (!tls_) return handler_.on_plain(bytes);
  TlsStream& tls = *tls_;
  tls.ciphertext(bytes);
  if (tls.status() == TlsStream::Status::handshaking) {
    context_.cipher_out.clear();
    const TlsStream::Status status = tls.handshake(context_.cipher_out);
    flush_cipher();
    // At once: the peer waits for it, and one that leaves right after the handshake would not see its ticket.
    tcp_.flush();
    if (status == TlsStream::Status::handshaking) return;
    if (status != TlsStream::Status::ok) return handler_.on_tls_failed(tls.error());
    handler_.on_tls_established();
  }
  while (tcp_.open() && tls.status() == TlsStream::Status::ok) {
    context_.cipher_out.clear();
    const std::size_t size = tls.read(context_.plain_buffer, context_.cipher_out);
    if (!context_.cipher_out.empty()) flush_cipher();
    if (size == 0) break;
    handler_.on_plain({context_.plain_buffer.data(), size});
  }
  if (!tcp_.open()) return;
  if (tls.status() == TlsStream::Status::closed) return handler_.on_end(false);
  if (tls.status() == TlsStream::Status::failed) return handler_.on_end(true);
}

void SecureStream::write(const session::Output& bytes, When when) {
  if (bytes.empty()) return;
  if (!tls_) return tcp_.write(bytes, when);
  if (!tls_->may_write()) return;
  context_.cipher_out.clear();
  encrypt(bytes);
  flush_cipher(when);
}

void SecureStream::encrypt(const session::Output& bytes) {
  // SSL_write cuts into records itself.
  if (bytes.segments() == 1) {
    tls_->write(bytes.segment(0), context_.cipher_out);
  } else {
    encrypt_gathered(bytes);
  }
}

// Small pieces become one record: a record each would cost more than the copy.
void SecureStream::encrypt_gathered(const session::Output& bytes) {
  std::array<char, record_octets> record;
  std::size_t filled = 0;
  for (std::size_t i = 0; i < bytes.segments(); ++i) {
    std::string_view piece = bytes.segment(i);
    while (!piece.empty()) {
      const std::size_t taken = piece.copy(record.data() + filled, record.size() - filled);
      piece.remove_prefix(taken);
      filled += taken;
      if (filled < record.size()) continue;
      tls_->write({record.data(), filled}, context_.cipher_out);
      filled = 0;
    }
  }
  tls_->write({record.data(), filled}, context_.cipher_out);
}

void SecureStream::close_notify() {
  if (!tls_ || !tls_->may_write()) return;
  context_.cipher_out.clear();
  tls_->shutdown(context_.cipher_out);
  flush_cipher();
}

}  // namespace portcullis::net
