#include "proxy/auth/tls_client.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include "proxy/auth/socket_stream.h"
#include "proxy/auth/tls_reason.h"

namespace portcullis::auth {

namespace {

constexpr char system_ca_file[] = "/etc/ssl/certs/ca-certificates.crt";

// A socket BIO of our own: BoringSSL's writes with write(2), and a server that hung up would kill the
// process by SIGPIPE.
int bio_fd(BIO* bio) { return *static_cast<const int*>(BIO_get_data(bio)); }

int bio_result(BIO* bio, ssize_t n, bool reading) {
  BIO_clear_retry_flags(bio);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
    reading ? BIO_set_retry_read(bio) : BIO_set_retry_write(bio);
  }
  return static_cast<int>(n);
}

int bio_write(BIO* bio, const char* bytes, int octets) {
  return bio_result(bio, ::send(bio_fd(bio), bytes, static_cast<std::size_t>(octets), MSG_NOSIGNAL), false);
}

int bio_read(BIO* bio, char* bytes, int octets) {
  return bio_result(bio, ::recv(bio_fd(bio), bytes, static_cast<std::size_t>(octets), 0), true);
}

long bio_control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

const BIO_METHOD* socket_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket without SIGPIPE");
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

bool is_ip_address(const std::string& name) {
  std::array<unsigned char, 16> ignored{};
  return ::inet_pton(AF_INET, name.c_str(), ignored.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), ignored.data()) == 1;
}

// Which name the certificate must carry; SNI for host names only (RFC 6066 section 3).
bool set_name(SSL* ssl, const std::string& name, bool verify) {
  if (is_ip_address(name)) {
    return !verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
  }
  return SSL_set_tlsext_host_name(ssl, name.c_str()) == 1 &&
         (!verify || SSL_set1_host(ssl, name.c_str()) == 1);
}

}  // namespace

std::expected<TlsClient, std::string> TlsClient::create(const std::string& ca_file, bool verify) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (!context) return std::unexpected(tls_error_text());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  const std::string path = ca_file.empty() ? system_ca_file : ca_file;
  if (verify && SSL_CTX_load_verify_locations(context.get(), path.c_str(), nullptr) != 1) {
    return std::unexpected(path +
                           " has no certificates of authorities that can be used: " + tls_error_text());
  }
  explain_handshakes(context.get(), verify ? path : std::string());
  return TlsClient(std::move(context), verify);
}

std::expected<std::unique_ptr<TlsSession>, std::string> TlsClient::handshake(
    int fd, const std::string& server_name, TlsSession::Deadline deadline) const {
  ERR_clear_error();
  SSL* ssl = SSL_new(context_.get());
  if (ssl == nullptr) return std::unexpected(tls_error_text());
  auto session = std::make_unique<TlsSession>(ssl, fd);
  if (auto done = session->handshake(server_name, verify_, deadline); !done)
    return std::unexpected(std::move(done.error()));
  return session;
}

TlsSession::~TlsSession() { SSL_free(ssl_); }

std::expected<void, std::string> TlsSession::again(int result, Deadline deadline) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      if (SocketStream::wait(fd_, false, deadline)) return {};
      return std::unexpected(std::string("no answer within the deadline"));
    case SSL_ERROR_WANT_WRITE:
      if (SocketStream::wait(fd_, true, deadline)) return {};
      return std::unexpected(std::string("no answer within the deadline"));
    case SSL_ERROR_ZERO_RETURN:
      return std::unexpected(std::string("the server closed the connection"));
    default: {
      if (SSL_in_init(ssl_) != 0) return std::unexpected("TLS: " + handshake_reason(ssl_));
      if (ERR_peek_last_error() == 0) return std::unexpected(std::string("the server closed the connection"));
      return std::unexpected("TLS: " + tls_error_text());
    }
  }
}

std::expected<void, std::string> TlsSession::handshake(const std::string& server_name, bool verify,
                                                       Deadline deadline) {
  BIO* bio = BIO_new(socket_method());
  if (bio == nullptr) return std::unexpected(tls_error_text());
  BIO_set_data(bio, &fd_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  if (!set_name(ssl_, server_name, verify)) return std::unexpected(tls_error_text());
  expect_name(ssl_, server_name);
  for (;;) {
    ERR_clear_error();
    const int result = SSL_connect(ssl_);
    if (result == 1) {
      handshake_done(ssl_);
      return {};
    }
    if (auto more = again(result, deadline); !more) return more;
  }
}

std::expected<void, std::string> TlsSession::write(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    ERR_clear_error();
    const int result =
        SSL_write(ssl_, bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 16384)));
    if (result > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(result));
    } else if (auto more = again(result, deadline); !more) {
      return more;
    }
  }
  return {};
}

std::expected<void, std::string> TlsSession::read(std::string& out, std::size_t octets, Deadline deadline) {
  std::array<char, 4096> block;
  for (;;) {
    ERR_clear_error();
    const int result = SSL_read(ssl_, block.data(), static_cast<int>(std::min(octets, block.size())));
    if (result > 0) {
      out.append(block.data(), static_cast<std::size_t>(result));
      return {};
    }
    if (auto more = again(result, deadline); !more) return more;
  }
}

}  // namespace portcullis::auth
