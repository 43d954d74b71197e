#include "proxy/auth/password_hash.h"

#include <crypt.h>
#include <openssl/mem.h>

#include <array>
#include <memory>

#include "smtp/sasl.h"

namespace portcullis::auth {

namespace {

// crypt_data is 32 KiB and holds traces of the password.
struct CryptDataWiper {
  void operator()(crypt_data* data) const {
    OPENSSL_cleanse(data, sizeof *data);
    delete data;
  }
};

// Empty when libcrypt refuses.
std::string crypt(std::string_view password, const std::string& setting) {
  const std::unique_ptr<crypt_data, CryptDataWiper> data(new crypt_data{});
  std::string phrase(password);
  const char* hash = crypt_rn(phrase.c_str(), setting.c_str(), data.get(), sizeof *data);
  smtp::wipe(phrase);
  return hash != nullptr ? std::string(hash) : std::string();
}

}  // namespace

std::expected<std::string, std::string> hash_password(std::string_view password) {
  if (password.empty()) return std::unexpected("the password is empty");
  if (password.find('\0') != std::string_view::npos) return std::unexpected("the password contains a NUL");
  if (password.size() >= CRYPT_MAX_PASSPHRASE_SIZE) return std::unexpected("the password is too long");
  std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> setting{};
  if (crypt_gensalt_rn("$y$", 0, nullptr, 0, setting.data(), static_cast<int>(setting.size())) == nullptr) {
    return std::unexpected("libcrypt made no salt");
  }
  std::string hash = crypt(password, setting.data());
  if (hash.empty()) return std::unexpected("libcrypt made no hash");
  return hash;
}

bool verify_password(const std::string& hash, std::string_view password) {
  const std::string made = crypt(password, hash);
  return !made.empty() && made.size() == hash.size() &&
         CRYPTO_memcmp(made.data(), hash.data(), hash.size()) == 0;
}

std::string_view hash_problem(const std::string& hash) {
  if (hash.size() >= CRYPT_OUTPUT_SIZE) return "the hash is too long";
  for (const char c : hash) {
    if (c <= ' ' || c > '~') return "the hash contains a blank or control character";
  }
  // Without a method: the DES hash of old, or a password in plain text.
  if (!hash.starts_with('$')) return "not a crypt(3) hash";
  switch (crypt_checksalt(hash.c_str())) {
    case CRYPT_SALT_OK:
      break;
    case CRYPT_SALT_METHOD_LEGACY:
      return "the hash is of a kind that is no longer safe (use yescrypt, bcrypt or sha512-crypt)";
    default:
      return "not a crypt(3) hash";
  }
  // A setting without the hash proper would never match; better said than searched for.
  if (hash.size() - hash.rfind('$') - 1 < 31) return "the hash is cut short";
  return {};
}

std::string_view hash_kind(std::string_view hash) {
  const std::size_t method_end = hash.find('$', 1);
  if (method_end == std::string_view::npos) return {};
  const std::size_t next = hash.find('$', method_end + 1);
  if (next == std::string_view::npos) return hash.substr(0, method_end + 1);
  const std::string_view method = hash.substr(0, method_end + 1);
  const bool sha = method == "$5$" || method == "$6$";
  // sha-crypt: the salt follows at once unless a "rounds=" field is there.
  if (sha && !hash.substr(method_end + 1).starts_with("rounds=")) return method;
  return hash.substr(0, next + 1);
}

}  // namespace portcullis::auth
