// A real slapd with people, groups and the password policy overlay, for the LDAP tests.
#pragma once

#include <string>

#include "proxy/auth/settings.h"
#include "tests/proxy/auth/server_process.h"
#include "tests/proxy/auth/temp_dir.h"

namespace portcullis::auth::testing {

class Slapd {
 public:
  Slapd();
  void start();
  void stop() { process_.stop(); }
  void hang() { process_.freeze(); }
  void go_on() { process_.thaw(); }
  // Applies LDIF changes as the administrator.
  void modify(const std::string& ldif);
  std::string url() const { return "ldap://127.0.0.1:" + std::to_string(port_); }
  std::string secure_url() const { return "ldaps://127.0.0.1:" + std::to_string(secure_port_); }
  // The same server under a name that its certificate does not have.
  std::string misnamed_url() const { return "ldaps://127.0.0.2:" + std::to_string(secure_port_); }
  std::string certificate(const char* name) const { return dir_.path() + "/" + name; }
  // Search and bind as the service, without TLS.
  LdapBackend settings() const;

 private:
  TempDir dir_;
  std::uint16_t port_ = free_port();
  std::uint16_t secure_port_ = free_port();
  ServerProcess process_;
};

}  // namespace portcullis::auth::testing
