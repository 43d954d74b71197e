// A real Dovecot for the IMAP tests: accounts in a passwd-file, OAuth tokens as locally validated JWTs.
#pragma once

#include <string>

#include "proxy/auth/settings.h"
#include "tests/proxy/auth/server_process.h"
#include "tests/proxy/auth/temp_dir.h"

namespace portcullis::auth::testing {

class Dovecot {
 public:
  // `extra`: lines of configuration.
  explicit Dovecot(const std::string& extra = {});
  void stop() { process_.stop(); }
  // Makes every lookup in the password database fail from now on.
  void break_database();
  // A bearer token for `login`, signed with the key the server knows, valid for an hour from now
  // (or expired).
  std::string token(const std::string& login, bool expired = false) const;
  std::string certificate(const char* name) const { return dir_.path() + "/" + name; }
  ImapBackend settings(ConnectionTls tls) const;

 private:
  TempDir dir_;
  std::uint16_t port_ = free_port();
  std::uint16_t secure_port_ = free_port();
  ServerProcess process_;
};

}  // namespace portcullis::auth::testing
