#include "proxy/net/tls_context.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "policy/identity.h"
#include "policy/ip.h"
#include "proxy/auth/tls_reason.h"
#include "proxy/net/certificate_time.h"

namespace portcullis::net {

namespace {

constexpr std::string_view system_ca_file = "/etc/ssl/certs/ca-certificates.crt";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view asn1_text(const ASN1_STRING* value) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),  // NOLINT: octets as text
          static_cast<std::size_t>(ASN1_STRING_length(value))};
}

// SAN entries of one type; an entry with a NUL or control character is not taken for a name.
std::vector<std::string> alternative_names(X509* certificate, int type) {
  std::vector<std::string> names;
  auto* list =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  const bssl::UniquePtr<GENERAL_NAMES> owner(list);
  for (std::size_t i = 0; list != nullptr && i < sk_GENERAL_NAME_num(list); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(list, i);
    if (name->type != type) continue;
    const std::string_view text = asn1_text(type == GEN_EMAIL ? name->d.rfc822Name : name->d.dNSName);
    const bool clean = std::all_of(text.begin(), text.end(), [](char c) { return c > 32 && c < 127; });
    if (clean && !text.empty()) names.emplace_back(text);
  }
  return names;
}

std::string common_name(X509* certificate) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  // Two common names could be read either way.
  if (index < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, index) >= 0) return {};
  const std::string_view text = asn1_text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
  return text.find('\0') == std::string_view::npos ? std::string(text) : std::string();
}

std::string subject_line(X509* certificate) {
  std::array<char, 512> text{};
  X509_NAME_oneline(X509_get_subject_name(certificate), text.data(), static_cast<int>(text.size()));
  return text.data();
}

// Not mail: a browser or an HTTP library led here (ALPACA). Clients that name no protocol, or "smtp",
// are served.
int on_alpn(SSL*, const std::uint8_t**, std::uint8_t*, const std::uint8_t* in, unsigned size, void*) {
  const std::string_view offered(reinterpret_cast<const char*>(in), size);  // NOLINT: octets as text
  const bool http =
      offered.find("http/") != std::string_view::npos || offered.find("\x02h2") != std::string_view::npos;
  return http ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
}

int on_ticket(SSL* ssl, std::uint8_t* name, std::uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* hmac,
              int seal) {
  auto* keys = static_cast<TicketKeys*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0));
  return keys != nullptr ? keys->seal_or_open(name, iv, cipher, hmac, seal == 1) : 0;
}

// TLS 1.2: forward secrecy and AEAD only.
constexpr char modern_suites[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
// After those, for a sender that would come in clear text otherwise (RFC 7435): CBC, and last RSA key
// exchange.
constexpr char compatible_suites[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:"
    "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA:AES256-SHA";

std::expected<bssl::UniquePtr<SSL_CTX>, std::string> server_context(const config::Tls& settings,
                                                                    const config::Certificate& certificate,
                                                                    TicketKeys* ticket_keys) {
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  if (!context) return std::unexpected("out of memory");
  SSL_CTX_set_min_proto_version(context.get(), settings.minimum_version);
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate.certificate.c_str()) != 1) {
    return std::unexpected(certificate.certificate +
                           ": not a PEM certificate chain: " + auth::tls_error_text());
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), certificate.private_key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return std::unexpected(certificate.private_key +
                           ": not a PEM private key of this certificate: " + auth::tls_error_text());
  }
  if (!settings.curves.empty()) {
    std::string list;
    for (const std::string& curve : settings.curves) list += (list.empty() ? "" : ":") + curve;
    if (SSL_CTX_set1_curves_list(context.get(), list.c_str()) != 1) {
      return std::unexpected("unknown curve in \"" + list + '"');
    }
  }
  if (SSL_CTX_set_strict_cipher_list(context.get(), modern_suites) != 1) {
    return std::unexpected("cipher list refused: " + auth::tls_error_text());
  }
  SSL_CTX_set_options(context.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
  if (!settings.client_ca.empty()) {
    if (SSL_CTX_load_verify_locations(context.get(), settings.client_ca.c_str(), nullptr) != 1) {
      return std::unexpected(settings.client_ca +
                             ": not a PEM bundle of CA certificates: " + auth::tls_error_text());
    }
    SSL_CTX_set_client_CA_list(context.get(), SSL_load_client_CA_file(settings.client_ca.c_str()));
  }
  auth::explain_handshakes(context.get(), settings.client_ca);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(context.get(), on_alpn, nullptr);
  if (ticket_keys != nullptr) {
    // A mail client keeps one session: a second ticket would be sealed and sent for nothing.
    SSL_CTX_set_num_tickets(context.get(), 1);
    SSL_CTX_set_ex_data(context.get(), 0, ticket_keys);
    SSL_CTX_set_tlsext_ticket_key_cb(context.get(), on_ticket);
    // No longer than a key seals, and a day: what a stolen key opens later is bounded by it.
    const std::uint32_t hours = std::min<std::uint32_t>(settings.ticket_key_hours, 24);
    SSL_CTX_set_timeout(context.get(), hours * 3600);
    SSL_CTX_set_session_psk_dhe_timeout(context.get(), hours * 3600);
  } else {
    SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
  }
  return context;
}

// Of the CA certificates that client certificates are verified with.
std::array<std::uint8_t, SHA256_DIGEST_LENGTH> trust_digest(SSL_CTX* context) {
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
  SHA256_CTX hash;
  SHA256_Init(&hash);
  const STACK_OF(X509_OBJECT)* objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
  for (std::size_t i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
    const X509* certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
    std::array<std::uint8_t, EVP_MAX_MD_SIZE> one{};
    unsigned size = 0;
    if (certificate == nullptr || X509_digest(certificate, EVP_sha256(), one.data(), &size) != 1) continue;
    SHA256_Update(&hash, one.data(), size);
  }
  SHA256_Final(digest.data(), &hash);
  return digest;
}

bool name_matches(std::string_view pattern, std::string_view name) {
  if (pattern == name) return true;
  if (!pattern.starts_with("*.")) return false;
  const std::size_t dot = name.find('.');
  return dot != std::string_view::npos && name.substr(dot) == pattern.substr(1);
}

}  // namespace

// --- tickets --------------------------------------------------------------------------------------

struct TicketKeys::Key {
  std::array<std::uint8_t, 16> name;
  std::array<std::uint8_t, 16> aes;
  std::array<std::uint8_t, 32> mac;
};

TicketKeys::TicketKeys(std::chrono::hours lifetime) : lifetime_(lifetime) {
  const std::lock_guard lock(mutex_);
  rotate_if_due();
}

TicketKeys::~TicketKeys() {
  for (Key& key : keys_) OPENSSL_cleanse(&key, sizeof key);
}

void TicketKeys::set_lifetime(std::chrono::hours lifetime) {
  const std::lock_guard lock(mutex_);
  lifetime_ = lifetime;
}

void TicketKeys::rotate_if_due() {
  const auto now = std::chrono::steady_clock::now();
  if (!keys_.empty() && now - newest_made_ < lifetime_) return;
  Key key{};
  RAND_bytes(key.name.data(), key.name.size());
  RAND_bytes(key.aes.data(), key.aes.size());
  RAND_bytes(key.mac.data(), key.mac.size());
  keys_.insert(keys_.begin(), key);
  OPENSSL_cleanse(&key, sizeof key);
  if (keys_.size() > 2) {
    OPENSSL_cleanse(&keys_.back(), sizeof(Key));
    keys_.pop_back();
  }
  newest_made_ = now;
}

int TicketKeys::seal_or_open(std::uint8_t* name, std::uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* hmac,
                             bool seal) {
  const std::lock_guard lock(mutex_);
  rotate_if_due();
  if (seal) {
    const Key& key = keys_.front();
    std::memcpy(name, key.name.data(), key.name.size());
    RAND_bytes(iv, EVP_MAX_IV_LENGTH);
    const bool ok = EVP_EncryptInit_ex(cipher, EVP_aes_128_cbc(), nullptr, key.aes.data(), iv) == 1 &&
                    HMAC_Init_ex(hmac, key.mac.data(), key.mac.size(), EVP_sha256(), nullptr) == 1;
    return ok ? 1 : -1;
  }
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    const Key& key = keys_[i];
    if (CRYPTO_memcmp(name, key.name.data(), key.name.size()) != 0) continue;
    const bool ok = EVP_DecryptInit_ex(cipher, EVP_aes_128_cbc(), nullptr, key.aes.data(), iv) == 1 &&
                    HMAC_Init_ex(hmac, key.mac.data(), key.mac.size(), EVP_sha256(), nullptr) == 1;
    if (!ok) return -1;
    return i == 0 ? 1 : 2;  // 2: opened with the old key, seal a new ticket
  }
  return 0;
}

// --- server ---------------------------------------------------------------------------------------

std::expected<std::shared_ptr<ServerTls>, std::string> ServerTls::make(
    const config::Tls& settings, std::shared_ptr<TicketKeys> ticket_keys) {
  std::shared_ptr<ServerTls> self(new ServerTls);
  self->ticket_keys_ = std::move(ticket_keys);
  for (const config::Certificate& certificate : settings.certificates) {
    auto context = server_context(settings, certificate, self->ticket_keys_.get());
    if (!context) return std::unexpected(context.error());
    X509* leaf = SSL_CTX_get0_certificate(context->get());
    CertificateFacts facts;
    facts.file = certificate.certificate;
    facts.not_after = not_after(leaf);
    for (const std::string& name : certificate.server_names) facts.names.push_back(lower(name));
    if (facts.names.empty()) {
      for (const std::string& name : alternative_names(leaf, GEN_DNS)) facts.names.push_back(lower(name));
    }
    self->entries_.push_back({std::move(*context), facts.names});
    self->facts_.push_back(std::move(facts));
  }
  if (!self->entries_.empty()) {
    SSL_CTX* first = self->entries_.front().context.get();
    self->client_trust_ = trust_digest(first);
    SSL_CTX_set_tlsext_servername_callback(first, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(first, self.get());
  }
  return self;
}

ServerTls::~ServerTls() = default;

const ServerTls::Entry* ServerTls::entry_for(std::string_view server_name) const {
  for (const Entry& entry : entries_) {
    for (const std::string& pattern : entry.names) {
      if (name_matches(pattern, server_name)) return &entry;
    }
  }
  return nullptr;
}

int ServerTls::on_server_name(SSL* ssl, int*, void* self) {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_NOACK;
  const Entry* entry = static_cast<const ServerTls*>(self)->entry_for(lower(name));
  // An unknown name gets the default certificate: mail clients with an old name must still be able to
  // show their user what is wrong.
  if (entry == nullptr) return SSL_TLSEXT_ERR_NOACK;
  // What tickets are bound to goes with the other context.
  std::array<std::uint8_t, SSL_MAX_SID_CTX_LENGTH> id{};
  std::size_t size = 0;
  const std::uint8_t* const bound = SSL_get0_session_id_context(ssl, &size);
  std::copy_n(bound, std::min(size, id.size()), id.begin());
  if (SSL_set_SSL_CTX(ssl, entry->context.get()) == nullptr ||
      SSL_set_session_id_context(ssl, id.data(), std::min(size, id.size())) != 1) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  return SSL_TLSEXT_ERR_OK;
}

// A resumed session brings its client certificate, or none, without another look at it. So a ticket is
// good only where certificates are asked for in the same way and the same authorities vouch for them:
// never from a listener that asks for none to one that requires one. Nor does a ticket bring an old cipher
// suite to a listener that does not take it.
bool ServerTls::bind_tickets(SSL* ssl, config::TlsProfile profile) const {
  const int mode = SSL_get_verify_mode(ssl);
  auto id = mode == SSL_VERIFY_NONE ? decltype(client_trust_){} : client_trust_;
  id.back() = static_cast<std::uint8_t>(mode | (profile == config::TlsProfile::compatible ? 0x80 : 0));
  return SSL_set_session_id_context(ssl, id.data(), id.size()) == 1;
}

SslPtr ServerTls::session(config::ClientCertificate client_certificate, config::TlsProfile profile) const {
  SslPtr ssl(SSL_new(entries_.front().context.get()));
  if (!ssl) return ssl;
  SSL_set_accept_state(ssl.get());
  SSL_set_shed_handshake_config(ssl.get(), 1);
  switch (client_certificate) {
    case config::ClientCertificate::off:
      break;
    case config::ClientCertificate::request:
      // A certificate that does not verify is only no proof of identity, not a reason to hang up.
      SSL_set_verify(ssl.get(), SSL_VERIFY_PEER, accept_any_certificate);
      break;
    case config::ClientCertificate::require:
      SSL_set_verify(ssl.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     accept_verified_certificate);
      break;
  }
  const bool is_compatible = profile == config::TlsProfile::compatible;
  if ((is_compatible && SSL_set_strict_cipher_list(ssl.get(), compatible_suites) != 1) ||
      !bind_tickets(ssl.get(), profile)) {
    ssl.reset();
  }
  return ssl;
}

// --- client ---------------------------------------------------------------------------------------

std::expected<std::shared_ptr<ClientTls>, std::string> ClientTls::make(const config::Upstream& settings) {
  std::shared_ptr<ClientTls> self(new ClientTls);
  self->context_.reset(SSL_CTX_new(TLS_method()));
  if (!self->context_) return std::unexpected("out of memory");
  SSL_CTX* context = self->context_.get();
  // Old servers behind the gateway may know no better; what may be spoken to them is their admin's word.
  SSL_CTX_set_min_proto_version(
      context, settings.tls == config::UpstreamTls::verified ? TLS1_2_VERSION : TLS1_VERSION);
  self->verify_ = settings.tls == config::UpstreamTls::verified;
  if (self->verify_) {
    const std::string file = settings.ca_file.empty() ? std::string(system_ca_file) : settings.ca_file;
    if (SSL_CTX_load_verify_locations(context, file.c_str(), nullptr) != 1) {
      return std::unexpected(file + ": not a PEM bundle of CA certificates: " + auth::tls_error_text());
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    auth::explain_handshakes(context, file);
  }
  return self;
}

SslPtr ClientTls::session(const std::string& host) const {
  SslPtr ssl(SSL_new(context_.get()));
  if (!ssl) return ssl;
  SSL_set_connect_state(ssl.get());
  const bool literal = policy::parse_ip(host).has_value();
  if (!literal) SSL_set_tlsext_host_name(ssl.get(), host.c_str());
  if (verify_) {
    X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl.get());
    const int ok = literal ? X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str())
                           : X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), host.size());
    if (ok != 1) ssl.reset();
    if (ssl) auth::expect_name(ssl.get(), host);
  }
  return ssl;
}

// --- facts ----------------------------------------------------------------------------------------

session::TlsFacts tls_facts(SSL* ssl, const config::CertificateLogin& mapping) {
  session::TlsFacts facts;
  facts.version = SSL_get_version(ssl);
  facts.cipher = SSL_get_cipher_name(ssl);
  const bssl::UniquePtr<X509> certificate(SSL_get_peer_certificate(ssl));
  if (!certificate || SSL_get_verify_result(ssl) != X509_V_OK || !is_in_time(certificate.get())) return facts;
  facts.client_subject = subject_line(certificate.get());
  std::vector<std::string> values;
  switch (mapping.from) {
    case config::CertificateLogin::From::san_email:
      values = alternative_names(certificate.get(), GEN_EMAIL);
      break;
    case config::CertificateLogin::From::san_dns:
      values = alternative_names(certificate.get(), GEN_DNS);
      break;
    case config::CertificateLogin::From::subject_cn:
      values = {common_name(certificate.get())};
      break;
  }
  // One certificate is one login: with several candidates it would be a guess.
  if (values.size() != 1 || values.front().empty()) return facts;
  if (mapping.map.empty()) {
    facts.certificate_login = values.front();
    return facts;
  }
  for (const auto& [value, login] : mapping.map) {
    if (value == values.front()) facts.certificate_login = login;
  }
  return facts;
}

}  // namespace portcullis::net
