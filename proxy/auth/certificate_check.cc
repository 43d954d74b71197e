#include "proxy/auth/certificate_check.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <expected>
#include <fstream>
#include <iterator>
#include <string_view>

#include "proxy/auth/certificate_text.h"

namespace portcullis::auth {

namespace {

using Findings = std::vector<CertificateFinding>;
using Time = std::chrono::system_clock::time_point;

constexpr std::string_view system_authorities = "/etc/ssl/certs/ca-certificates.crt";
constexpr std::size_t file_octets_max = std::size_t{16} * 1024 * 1024;
constexpr unsigned weak_rsa_bits = 2048;  // fewer are refused by today's clients
// A certificate that is valid for up to 90 days is renewed when a third of that is left.
constexpr std::chrono::days short_life{90};
constexpr std::chrono::days soon{30}, soon_for_short_life{14};

struct Pem {
  std::vector<bssl::UniquePtr<X509>> certificates;
};

std::expected<std::string, std::string> read_file(const std::string& file) {
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream.is_open()) return std::unexpected(file + " cannot be read: " + std::strerror(errno));
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (stream.bad()) return std::unexpected(file + " cannot be read");
  if (text.size() > file_octets_max) return std::unexpected(file + " is too large for a PEM file");
  if (text.empty()) return std::unexpected(file + " is empty");
  return text;
}

bool has(std::string_view text, std::string_view what) { return text.find(what) != std::string_view::npos; }

// What the file is, if it is not what `wanted` says.
std::string what_it_is(const std::string& file, const std::string& text, std::string_view wanted) {
  std::string is = "has no PEM block";
  if (has(text, "PRIVATE KEY-----")) {
    is = "is a private key";
  } else if (has(text, "-----BEGIN CERTIFICATE REQUEST") || has(text, "-----BEGIN NEW CERTIFICATE REQUEST")) {
    is = "is a certificate request, which an authority has yet to sign";
  } else if (has(text, "-----BEGIN CERTIFICATE-----") || has(text, "-----BEGIN TRUSTED CERTIFICATE-----")) {
    is = "is a certificate";
  } else if (text[0] == 0x30) {
    is = "is in DER or PKCS#12 format; it must be PEM (openssl x509, openssl pkcs12)";
  }
  return file + " has no " + std::string(wanted) + ": it " + is;
}

bssl::UniquePtr<BIO> bio_of(const std::string& text) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::expected<Pem, std::string> read_certificates(const std::string& file) {
  const auto text = read_file(file);
  if (!text) return std::unexpected(text.error());
  const auto bio = bio_of(*text);
  Pem pem;
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    pem.certificates.emplace_back(certificate);
  }
  const std::uint32_t code = ERR_peek_last_error();
  const bool at_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!at_end) {
    return std::unexpected("certificate number " + std::to_string(pem.certificates.size() + 1) + " in " +
                           file + " is damaged");
  }
  if (pem.certificates.empty()) return std::unexpected(what_it_is(file, *text, "certificate"));
  return pem;
}

// No passphrase is asked for: a service has no terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

std::expected<bssl::UniquePtr<EVP_PKEY>, std::string> read_key(const std::string& file) {
  auto text = read_file(file);
  if (!text) return std::unexpected(text.error());
  if (!has(*text, "PRIVATE KEY-----")) return std::unexpected(what_it_is(file, *text, "private key"));
  const bool encrypted =
      has(*text, "-----BEGIN ENCRYPTED PRIVATE KEY") || has(*text, "Proc-Type: 4,ENCRYPTED");
  bssl::UniquePtr<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(bio_of(*text).get(), nullptr, no_passphrase, nullptr));
  OPENSSL_cleanse(text->data(), text->size());
  ERR_clear_error();
  if (key) return key;
  if (encrypted) {
    return std::unexpected(file +
                           " is encrypted with a passphrase, which the gateway cannot ask for; openssl pkey "
                           "writes it without one");
  }
  return std::unexpected("the private key in " + file + " is damaged, or of a kind that is not supported");
}

bool is_self_signed(X509* certificate) {
  return X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
}

// Whether the issuer of `certificate` is among the authorities of this machine. Those of most clients are the
// same.
bool issuer_is_known_here(X509* certificate) {
  const auto known = read_certificates(std::string(system_authorities));
  if (!known) return false;
  return std::ranges::any_of(known->certificates, [&](const auto& each) {
    return X509_NAME_cmp(X509_get_subject_name(each.get()), X509_get_issuer_name(certificate)) == 0;
  });
}

void check_dates(const std::string& file, X509* certificate, Time now, Findings& findings) {
  const Time begin = time_of(X509_get0_notBefore(certificate)),
             end = time_of(X509_get0_notAfter(certificate));
  const std::string date = date_of(X509_get0_notAfter(certificate));
  if (end <= now) {
    findings.push_back({false, file + " has expired, on " + date});
  } else if (begin > now) {
    findings.push_back({false, file + " is not valid before " + date_of(X509_get0_notBefore(certificate))});
  } else if (end - now <= (end - begin <= short_life ? soon_for_short_life : soon)) {
    const auto days = std::chrono::floor<std::chrono::days>(end - now).count();
    findings.push_back({false, file + " expires in " + std::to_string(days) + " days, on " + date});
  }
}

void check_strength(const std::string& file, X509* certificate, Findings& findings) {
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate));
  ERR_clear_error();
  if (key && EVP_PKEY_id(key.get()) == EVP_PKEY_RSA) {
    const auto bits = static_cast<unsigned>(EVP_PKEY_bits(key.get()));
    if (bits < weak_rsa_bits) {
      findings.push_back({false, file + ": the RSA key of " + subject_of(certificate) + " has " +
                                     std::to_string(bits) + " bits; clients refuse less than 2048"});
    }
  }
  // Nobody verifies the signature of a root.
  if (is_self_signed(certificate)) return;
  const int signature = X509_get_signature_nid(certificate);
  const bool md5 = signature == NID_md5WithRSAEncryption;
  if (md5 || signature == NID_sha1WithRSAEncryption || signature == NID_ecdsa_with_SHA1 ||
      signature == NID_sha1WithRSA) {
    findings.push_back({false, file + ": the certificate of " + subject_of(certificate) + " is signed with " +
                                   (md5 ? "MD5" : "SHA-1") + "; clients refuse that"});
  }
}

void check_chain(const std::string& file, const Pem& pem, Findings& findings) {
  for (std::size_t i = 0; i + 1 < pem.certificates.size(); ++i) {
    if (X509_NAME_cmp(X509_get_issuer_name(pem.certificates[i].get()),
                      X509_get_subject_name(pem.certificates[i + 1].get())) == 0) {
      continue;
    }
    findings.push_back({false, file + ": certificate number " + std::to_string(i + 2) + " (" +
                                   subject_of(pem.certificates[i + 1].get()) +
                                   ") is not the issuer of number " + std::to_string(i + 1) + " (" +
                                   issuer_of(pem.certificates[i].get()) + ")"});
    return;
  }
  X509* last = pem.certificates.back().get();
  if (is_self_signed(last) || issuer_is_known_here(last)) return;
  findings.push_back(
      {false, file + ": the intermediate certificate of " + issuer_of(last) +
                  " is missing: clients that do not have it cannot verify this chain; append it"});
}

// The key belongs to the first certificate.
void check_pair(const std::string& chain_file, const Pem& pem, const std::string& key_file,
                const EVP_PKEY* key, Findings& findings) {
  const auto is_of = [&](const bssl::UniquePtr<X509>& certificate) {
    const bssl::UniquePtr<EVP_PKEY> own(X509_get_pubkey(certificate.get()));
    ERR_clear_error();
    return own && EVP_PKEY_cmp(own.get(), key) == 1;
  };
  const auto found = std::ranges::find_if(pem.certificates, is_of);
  if (found == pem.certificates.begin()) return;
  if (found == pem.certificates.end()) {
    findings.push_back({true, key_file + " is not the private key of the certificate of " +
                                  subject_of(pem.certificates.front().get()) + " in " + chain_file});
  } else {
    findings.push_back({true, chain_file + ": the certificate of " + key_file + " is number " +
                                  std::to_string(found - pem.certificates.begin() + 1) +
                                  "; it must be the first, its issuers behind it"});
  }
}

}  // namespace

Findings check_certificate(const std::string& chain_file, const std::string& key_file, Time now) {
  Findings findings;
  const auto pem = read_certificates(chain_file);
  if (!pem) findings.push_back({true, pem.error()});
  const auto key = read_key(key_file);
  if (!key) findings.push_back({true, key.error()});
  if (pem && key) check_pair(chain_file, *pem, key_file, key->get(), findings);
  if (!findings.empty()) return findings;
  for (const auto& certificate : pem->certificates) {
    check_dates(chain_file, certificate.get(), now, findings);
    check_strength(chain_file, certificate.get(), findings);
  }
  check_chain(chain_file, *pem, findings);
  return findings;
}

Findings check_authorities(const std::string& file, Time now) {
  Findings findings;
  const auto pem = read_certificates(file);
  if (!pem) return {{true, pem.error()}};
  for (const auto& certificate : pem->certificates) {
    if (time_of(X509_get0_notAfter(certificate.get())) > now) return {};
  }
  return {{false, file + ": all certificates have expired"}};
}

}  // namespace portcullis::auth
