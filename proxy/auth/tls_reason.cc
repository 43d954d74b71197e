#include "proxy/auth/tls_reason.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string_view>
#include <vector>

#include "proxy/auth/certificate_text.h"

namespace portcullis::auth {

namespace {

constexpr std::size_t ciphers_max = 12;  // shown; a ClientHello may have thousands
constexpr std::size_t versions_max = 8;

// What is known of a handshake under way.
struct Handshake {
  std::vector<std::uint16_t> versions, ciphers;
  bool more_ciphers = false;
  std::string wanted;        // name of the server
  std::string verification;  // the first fault of the peer's certificate
};

void free_handshake(void*, void* handshake, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<Handshake*>(handshake);  // NOLINT: BoringSSL owns it
}

void free_text(void*, void* text, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<std::string*>(text);  // NOLINT: likewise
}

int handshake_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, free_handshake);
  return index;
}

int authorities_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_text);
  return index;
}

Handshake* kept(SSL* ssl) { return static_cast<Handshake*>(SSL_get_ex_data(ssl, handshake_index())); }

// May be null: without memory the reason is shorter.
Handshake* keep(SSL* ssl) {
  if (Handshake* there = kept(ssl); there != nullptr) return there;
  auto made = std::make_unique<Handshake>();
  if (SSL_set_ex_data(ssl, handshake_index(), made.get()) != 1) return nullptr;
  return made.release();
}

// RFC 8701: values without meaning, sent to keep servers tolerant.
bool is_grease(std::uint16_t value) { return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff); }

std::vector<std::uint16_t> pairs(const std::uint8_t* data, std::size_t size, std::size_t most, bool& more) {
  std::vector<std::uint16_t> values;
  for (std::size_t at = 0; at + 1 < size; at += 2) {
    const auto value = static_cast<std::uint16_t>(data[at] << 8 | data[at + 1]);
    if (is_grease(value) || value == 0x00ff) continue;  // 0x00ff: RFC 5746, no cipher
    more = values.size() == most;
    if (more) break;
    values.push_back(value);
  }
  return values;
}

ssl_select_cert_result_t on_client_hello(const SSL_CLIENT_HELLO* hello) {
  Handshake* handshake = keep(hello->ssl);
  if (handshake == nullptr) return ssl_select_cert_success;
  bool ignored = false;
  handshake->ciphers =
      pairs(hello->cipher_suites, hello->cipher_suites_len, ciphers_max, handshake->more_ciphers);
  const std::uint8_t* versions = nullptr;
  std::size_t size = 0;
  if (SSL_early_callback_ctx_extension_get(hello, TLSEXT_TYPE_supported_versions, &versions, &size) == 1 &&
      size > 1) {
    handshake->versions = pairs(versions + 1, size - 1, versions_max, ignored);
  } else {
    handshake->versions = {hello->version};
  }
  return ssl_select_cert_success;
}

std::string version_name(std::uint16_t version) {
  switch (version) {
    case SSL3_VERSION:
      return "SSLv3";
    case TLS1_VERSION:
      return "TLSv1.0";
    case TLS1_1_VERSION:
      return "TLSv1.1";
    case TLS1_2_VERSION:
      return "TLSv1.2";
    case TLS1_3_VERSION:
      return "TLSv1.3";
    default:
      std::array<char, 8> text{};
      std::snprintf(text.data(), text.size(), "0x%04x", version);
      return text.data();
  }
}

std::string cipher_name(std::uint16_t cipher) {
  if (const SSL_CIPHER* known = SSL_get_cipher_by_value(cipher); known != nullptr) {
    return SSL_CIPHER_get_name(known);
  }
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "0x%04x", cipher);
  return text.data();
}

template <typename Name>
std::string listed(const std::vector<std::uint16_t>& values, Name&& name) {
  std::string text;
  for (const std::uint16_t value : values) text += (text.empty() ? "" : ", ") + name(value);
  return text.empty() ? "nothing" : text;
}

// "; the client offers TLSv1.2 with AES128-SHA, 0x009c"
std::string offer(const Handshake* handshake) {
  if (handshake == nullptr || handshake->versions.empty()) return {};
  return "; the client offers " + listed(handshake->versions, version_name) + " with " +
         listed(handshake->ciphers, cipher_name) + (handshake->more_ciphers ? ", and more" : "");
}

// What an alert of the peer's means for the one who reads it.
std::string alert_meaning(int alert, bool from_client) {
  switch (alert) {
    case SSL_AD_UNKNOWN_CA:
      return from_client ? ": it does not trust the authority of this gateway's certificate"
                         : ": it does not trust the authority of the certificate";
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
      return from_client ? ": it does not accept this gateway's certificate"
                         : ": it does not accept the certificate";
    case SSL_AD_CERTIFICATE_EXPIRED:
      return ": to it the certificate has expired";
    case SSL_AD_PROTOCOL_VERSION:
      return ": no protocol version in common";
    case SSL_AD_HANDSHAKE_FAILURE:
      return ": no cipher or signature in common, or a certificate is missing";
    case SSL_AD_UNRECOGNIZED_NAME:
      return ": it has no certificate for the name that was asked for";
    case SSL_AD_INSUFFICIENT_SECURITY:
      return ": what is offered is too weak for it";
    default:
      return {};
  }
}

std::string own_words(std::uint32_t code) {
  const char* reason = ERR_reason_error_string(code);
  std::string text = reason != nullptr ? reason : "unknown error";
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '_') c = ' ';
  }
  return text;
}

std::string reason_of(std::uint32_t code, const SSL* ssl, const Handshake* handshake) {
  const bool server = SSL_is_server(ssl) == 1;
  const std::string peer = server ? "the client" : "the server";
  if (ERR_GET_LIB(code) != ERR_LIB_SSL) return own_words(code);
  const int reason = ERR_GET_REASON(code);
  switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
      return peer + " sent HTTP instead of a TLS handshake";
    case SSL_R_WRONG_VERSION_NUMBER:
      return peer + " sent something that is not TLS";
    case SSL_R_UNSUPPORTED_PROTOCOL:
      return "no protocol version in common: this side takes " +
             version_name(SSL_get_min_proto_version(ssl)) + " to " +
             version_name(SSL_get_max_proto_version(ssl)) + offer(handshake);
    case SSL_R_NO_SHARED_CIPHER:
      return "no shared cipher" + offer(handshake);
    case SSL_R_NO_SHARED_GROUP:
      return "no shared group for the key exchange" + offer(handshake);
    case SSL_R_NO_COMMON_SIGNATURE_ALGORITHMS:
      return "no shared signature algorithm for the key of the certificate" + offer(handshake);
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return peer + " sent no certificate, and one is required";
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
      // OpenSSL's clients send in the clear what they think of the certificate (TLS 1.3).
      return "a record of " + peer +
             " cannot be decrypted: it may be an alert in the clear, for a certificate that " + peer +
             " does not accept";
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return peer + " asked for another protocol than SMTP (ALPN)";
    default:
      break;
  }
  if (reason < SSL_AD_REASON_OFFSET) return own_words(code);
  const int alert = reason - SSL_AD_REASON_OFFSET;
  return peer + " ended the handshake with the alert \"" + SSL_alert_desc_string_long(alert) + '"' +
         alert_meaning(alert, server) + offer(handshake);
}

std::string fault_of(int error, X509* certificate, const SSL* ssl, const std::string& wanted) {
  const std::string named = "certificate of " + subject_of(certificate);
  const auto* authorities =
      static_cast<const std::string*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), authorities_index()));
  const std::string trusted =
      authorities != nullptr && !authorities->empty() ? " in " + *authorities : std::string();
  switch (error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "the " + named + " is for " + names_of(certificate) + ", not for \"" + wanted + '"';
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "the " + named + " has expired, on " + date_of(X509_get0_notAfter(certificate));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "the " + named + " is not valid before " + date_of(X509_get0_notBefore(certificate));
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return "the " + named + " is self-signed, and not among the trusted ones" + trusted;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return "the certificate chain ends at " + subject_of(certificate) +
             ", which is not among the trusted authorities" + trusted;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return "the " + named + " is signed by " + issuer_of(certificate) +
             ", which is neither in the chain that was sent nor among the trusted authorities" + trusted;
    case X509_V_ERR_INVALID_PURPOSE:
      return "the " + named + " is not for this purpose (extended key usage)";
    default:
      return "the " + named + " is not valid: " + X509_verify_cert_error_string(error);
  }
}

}  // namespace

void explain_handshakes(ssl_ctx_st* context, const std::string& authorities) {
  SSL_CTX_set_select_certificate_cb(context, on_client_hello);
  if (!authorities.empty()) {
    auto text = std::make_unique<std::string>(authorities);
    if (SSL_CTX_set_ex_data(context, authorities_index(), text.get()) == 1) text.release();
  }
  if (SSL_CTX_get_verify_mode(context) != SSL_VERIFY_NONE) {
    SSL_CTX_set_verify(context, SSL_CTX_get_verify_mode(context), note_verification);
  }
}

void expect_name(ssl_st* ssl, const std::string& name) {
  if (Handshake* handshake = keep(ssl); handshake != nullptr) handshake->wanted = name;
}

int note_verification(int ok, x509_store_ctx_st* store) {
  if (ok == 1) return ok;
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  X509* certificate = X509_STORE_CTX_get_current_cert(store);
  if (ssl == nullptr || certificate == nullptr) return ok;
  Handshake* handshake = keep(ssl);
  if (handshake != nullptr && handshake->verification.empty()) {
    handshake->verification = fault_of(X509_STORE_CTX_get_error(store), certificate, ssl, handshake->wanted);
  }
  return ok;
}

std::string handshake_reason(ssl_st* ssl) {
  const std::uint32_t code = ERR_peek_last_error();
  const Handshake* handshake = kept(ssl);
  const bool verification =
      ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
  std::string text;
  if (verification && handshake != nullptr && !handshake->verification.empty()) {
    text = handshake->verification;
  } else if (code != 0) {
    text = reason_of(code, ssl, handshake);
  } else {
    text = SSL_is_server(ssl) == 1 ? "the client closed the connection during the handshake"
                                   : "the server closed the connection during the handshake";
  }
  ERR_clear_error();
  return text;
}

bool handshake_began(const ssl_st* ssl) { return SSL_get_ex_data(ssl, handshake_index()) != nullptr; }

void handshake_done(ssl_st* ssl) {
  delete kept(ssl);  // NOLINT: as in free_handshake
  SSL_set_ex_data(ssl, handshake_index(), nullptr);
}

std::string tls_error_text() {
  const std::uint32_t code = ERR_peek_last_error();
  ERR_clear_error();
  return code == 0 ? "unknown error" : own_words(code);
}

}  // namespace portcullis::auth
