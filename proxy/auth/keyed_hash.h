// HMAC-SHA256 under a random key of this process: what the cache and the brute-force control know of
// a password instead of the password.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "smtp/sasl.h"

namespace portcullis::auth {

using Digest = std::array<std::uint8_t, 32>;

class KeyedHash {
 public:
  KeyedHash();  // draws the key
  ~KeyedHash();
  // The one all configurations share: brute-force control outlives them, and would take a password for
  // another one after each reload.
  static const KeyedHash& of_process();
  KeyedHash(const KeyedHash&) = delete;
  KeyedHash& operator=(const KeyedHash&) = delete;

  // Of login, NUL, kind of secret, NUL, secret. PLAIN and LOGIN carry the same password and count as
  // one kind; each OAuth mechanism is its own.
  Digest of(std::string_view login, smtp::Mechanism mechanism, std::string_view secret) const;

 private:
  std::array<std::uint8_t, 32> key_{};
};

// Eight octets of a digest as a number, for tables that need no more.
std::uint64_t short_of(const Digest& digest);

}  // namespace portcullis::auth
