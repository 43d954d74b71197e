#include "proxy/auth/keyed_hash.h"

#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <cstring>

namespace portcullis::auth {

KeyedHash::KeyedHash() { RAND_bytes(key_.data(), key_.size()); }  // BoringSSL: aborts rather than fail

KeyedHash::~KeyedHash() { OPENSSL_cleanse(key_.data(), key_.size()); }

const KeyedHash& KeyedHash::of_process() {
  static const KeyedHash hash;
  return hash;
}

Digest KeyedHash::of(std::string_view login, smtp::Mechanism mechanism, std::string_view secret) const {
  const bool password = mechanism == smtp::Mechanism::plain || mechanism == smtp::Mechanism::login;
  const std::string_view kind = password ? "password" : smtp::name_of(mechanism);
  static constexpr std::uint8_t nul = 0;
  const auto add = [](HMAC_CTX* hmac, std::string_view bytes) {
    HMAC_Update(hmac, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  };
  Digest digest{};
  bssl::ScopedHMAC_CTX hmac;
  unsigned length = 0;
  HMAC_Init_ex(hmac.get(), key_.data(), key_.size(), EVP_sha256(), nullptr);
  add(hmac.get(), login);
  HMAC_Update(hmac.get(), &nul, 1);
  add(hmac.get(), kind);
  HMAC_Update(hmac.get(), &nul, 1);
  add(hmac.get(), secret);
  HMAC_Final(hmac.get(), digest.data(), &length);
  return digest;
}

std::uint64_t short_of(const Digest& digest) {
  std::uint64_t value = 0;
  std::memcpy(&value, digest.data(), sizeof value);
  return value;
}

}  // namespace portcullis::auth
