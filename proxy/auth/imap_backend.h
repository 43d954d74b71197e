// An IMAP server as a backend (3.2): whoever it lets in, we let in. A connection per login: IMAP has no way
// back from the authenticated state.
#pragma once

#include <expected>
#include <string>

#include "proxy/auth/backend.h"
#include "proxy/auth/tls_client.h"

namespace portcullis::auth {

// "imap.example.com:993", "[2001:db8::1]:143", "imap.example.com" (then the port is 993 with implicit TLS,
// else 143). The error is a sentence.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
std::expected<HostPort, std::string> parse_host_port(const std::string& text, std::uint16_t default_port);

// Which name to log in with, and what the account is called and owns; nullopt: no account here. With
// strip_domain the server never sees the domain, so only append_domain may be in front of us: otherwise
// alice@anything would be let in, and own that address. With `domains`, no other domain is asked about.
struct ImapName {
  std::string login;  // at the server
  policy::Account account;
};
std::optional<ImapName> imap_name(const ImapBackend& settings, const std::string& login);

class ImapServer : public Backend {
 public:
  explicit ImapServer(ImapBackend settings);
  BackendKind kind() const override { return BackendKind::imap; }
  std::uint8_t mechanisms() const override;
  std::unique_ptr<Asker> asker() override;
  std::string guessed_login(const std::string& login) const override;

  const ImapBackend& settings() const { return settings_; }
  const std::expected<TlsClient, std::string>& tls() const { return tls_; }
  const std::expected<HostPort, std::string>& server() const { return server_; }

 private:
  ImapBackend settings_;
  std::expected<HostPort, std::string> server_;
  std::expected<TlsClient, std::string> tls_;
};

}  // namespace portcullis::auth
