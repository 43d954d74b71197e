// Password hashes by crypt(3): yescrypt for new ones, and whatever libcrypt still calls strong for
// those brought along (bcrypt, sha512-crypt, scrypt).
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace portcullis::auth {

// A new hash with a random salt. The error is a sentence (over-long password, no entropy).
std::expected<std::string, std::string> hash_password(std::string_view password);

// Constant-time in what is compared; takes as long as the hash's own cost (that is its point).
bool verify_password(const std::string& hash, std::string_view password);

// Why `hash` is not acceptable in a user file; empty: it is.
std::string_view hash_problem(const std::string& hash);

// Method and cost without the salt, "$y$j9T$": hashes of one kind cost the same time.
std::string_view hash_kind(std::string_view hash);

}  // namespace portcullis::auth
