#include "proxy/net/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>

#include <algorithm>
#include <cstring>

#include "proxy/auth/tls_reason.h"

namespace portcullis::net {

namespace {

metrics::TlsFailure failure_of(std::uint32_t code) {
  using metrics::TlsFailure;
  switch (ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:  // of the record: what came is no TLS
      return TlsFailure::not_tls;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return TlsFailure::protocol_version;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUP:
      return TlsFailure::no_shared_cipher;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return TlsFailure::certificate_missing;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      return TlsFailure::certificate_invalid;
    default:
      break;
  }
  const bool alert = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) >= SSL_AD_REASON_OFFSET;
  return alert ? TlsFailure::alert : TlsFailure::other;
}

}  // namespace

const BIO_METHOD* TlsStream::method() {
  static BIO_METHOD* const shared = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "portcullis");
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_ctrl(made, bio_ctrl);
    return made;
  }();
  return shared;
}

TlsStream::TlsStream(SslPtr ssl) : ssl_(std::move(ssl)) {
  BIO* bio = BIO_new(method());
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
}

TlsStream::~TlsStream() = default;

int TlsStream::bio_read(BIO* bio, char* data, int size) {
  auto* self = static_cast<TlsStream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (self->input_.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t taken = std::min(self->input_.size(), static_cast<std::size_t>(size));
  std::memcpy(data, self->input_.data(), taken);
  self->input_.remove_prefix(taken);
  return static_cast<int>(taken);
}

int TlsStream::bio_write(BIO* bio, const char* data, int size) {
  auto* self = static_cast<TlsStream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  // Nothing is expected to be written outside our calls; what BoringSSL has to say then waits.
  if (self->output_ == nullptr) {
    BIO_set_retry_write(bio);
    return -1;
  }
  self->output_->append(data, static_cast<std::size_t>(size));
  return size;
}

long TlsStream::bio_ctrl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

void TlsStream::failed(int result) {
  const int reason = SSL_get_error(ssl_.get(), result);
  if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) return;
  if (reason == SSL_ERROR_ZERO_RETURN) {
    status_ = Status::closed;
    return;
  }
  status_ = Status::failed;
  failure_ = failure_of(ERR_peek_last_error());
  error_ = SSL_in_init(ssl_.get()) != 0 ? auth::handshake_reason(ssl_.get()) : auth::tls_error_text();
}

TlsStream::Status TlsStream::handshake(std::string& out) {
  if (status_ != Status::handshaking) return status_;
  ERR_clear_error();
  output_ = &out;
  const int result = SSL_do_handshake(ssl_.get());
  output_ = nullptr;
  if (result == 1) {
    status_ = Status::ok;
    auth::handshake_done(ssl_.get());
  } else {
    failed(result);
  }
  return status_;
}

std::size_t TlsStream::read(std::span<char> buffer, std::string& out) {
  if (status_ != Status::ok) return 0;
  ERR_clear_error();
  output_ = &out;
  std::size_t filled = 0;
  while (filled < buffer.size()) {
    const int result = SSL_read(ssl_.get(), buffer.data() + filled, static_cast<int>(buffer.size() - filled));
    if (result <= 0) {
      failed(result);
      break;
    }
    filled += static_cast<std::size_t>(result);
  }
  output_ = nullptr;
  return filled;
}

bool TlsStream::write(std::string_view plain, std::string& out) {
  if (!may_write()) return false;
  ERR_clear_error();
  output_ = &out;
  const int result = plain.empty() ? 0 : SSL_write(ssl_.get(), plain.data(), static_cast<int>(plain.size()));
  output_ = nullptr;
  if (result == static_cast<int>(plain.size())) return true;
  failed(result);
  return false;
}

void TlsStream::shutdown(std::string& out) {
  if (!may_write() || (SSL_get_shutdown(ssl_.get()) & SSL_SENT_SHUTDOWN) != 0) return;
  ERR_clear_error();
  output_ = &out;
  SSL_shutdown(ssl_.get());
  output_ = nullptr;
}

}  // namespace portcullis::net
