#include "proxy/auth/imap_backend.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "policy/identity.h"
#include "proxy/auth/backends.h"
#include "proxy/auth/imap_login.h"
#include "proxy/auth/owned_names.h"
#include "proxy/auth/socket_stream.h"
#include "smtp/extensions.h"

namespace portcullis::auth {

namespace {

constexpr std::uint16_t imaps_port = 993;
constexpr std::uint16_t imap_port = 143;
constexpr std::size_t long_secret_octets = 1000;

class ImapAsker : public Asker {
 public:
  explicit ImapAsker(const ImapServer& server) : server_(server), settings_(server.settings()) {}
  Answer ask(const Query& query, Deadline deadline) override;
  std::expected<std::string, std::string> probe(Deadline deadline) override;

 private:
  std::expected<SocketStream, std::string> connect(Deadline deadline) const;
  std::expected<void, std::string> begin(SocketStream& stream, Deadline deadline) const;
  const TlsClient* starttls() const {
    return settings_.tls == ConnectionTls::starttls ? &*server_.tls() : nullptr;
  }

  const ImapServer& server_;
  const ImapBackend& settings_;
};

std::expected<SocketStream, std::string> ImapAsker::connect(Deadline deadline) const {
  if (!server_.server()) return std::unexpected(server_.server().error());
  if (!server_.tls()) return std::unexpected(server_.tls().error());
  const HostPort& server = *server_.server();
  const auto within_timeout = [&](Deadline most) {
    return std::min(most, Clock::now() + std::chrono::milliseconds(settings_.limits.connect_timeout_ms));
  };
  for (;;) {
    auto stream = SocketStream::connect(server.host, server.port, within_timeout(deadline));
    if (!stream) return stream;
    if (settings_.tls == ConnectionTls::off && !stream->is_loopback()) {
      return std::unexpected("no TLS, and " + server.host + " is another machine: passwords stay here");
    }
    const bool last = !stream->peer().has_other();
    const auto done = begin(*stream, last ? deadline : within_timeout(stream->peer().share_of(deadline)));
    if (done) return stream;
    // An address that accepts the connection and does not speak is no better than one that does not answer.
    stream->peer().blame();
    if (last) return std::unexpected(settings_.server + ": " + done.error());
  }
}

// Until the server has said something: it speaks first (RFC 9051 section 2.2.1), or does its part of the
// handshake.
std::expected<void, std::string> ImapAsker::begin(SocketStream& stream, Deadline deadline) const {
  if (settings_.tls == ConnectionTls::implicit) {
    return stream.start_tls(*server_.tls(), server_.server()->host, deadline);
  }
  if (stream.wait_readable(deadline)) return {};
  return std::unexpected("no greeting within the deadline");
}

Answer ImapAsker::ask(const Query& query, Deadline deadline) {
  auto name = imap_name(settings_, query.login);
  if (!name) return {Result::bad_credentials, {}, "no login of this server's domains"};
  auto stream = connect(deadline);
  if (!stream) return {Result::backend_error, {}, std::move(stream.error())};
  ImapLogin conversation(*stream, starttls(), server_.server()->host, deadline);
  const auto capabilities = conversation.greet();
  if (!capabilities) return {Result::backend_error, {}, settings_.server + ": " + capabilities.error()};
  LoginVerdict verdict = conversation.log_in(*capabilities, name->login, query);
  conversation.log_out();
  if (verdict.result != Result::success) {
    // Servers need not take lines of any length (RFC 2683 section 3.2.1.5), and many close on one.
    const bool is_long = query.secret.view().size() > long_secret_octets;
    return {verdict.result, {}, std::move(verdict.detail), is_long};
  }
  return {Result::success, std::move(name->account), {}};
}

std::expected<std::string, std::string> ImapAsker::probe(Deadline deadline) {
  auto stream = connect(deadline);
  if (!stream) return std::unexpected(std::move(stream.error()));
  ImapLogin conversation(*stream, starttls(), server_.server()->host, deadline);
  const auto capabilities = conversation.greet();
  if (!capabilities) return std::unexpected(settings_.server + ": " + capabilities.error());
  conversation.log_out();
  std::string text = settings_.server + ": ok";
  if (capabilities->auth_plain)
    text += ", PLAIN";
  else if (!capabilities->login_disabled)
    text += ", LOGIN";
  else
    return std::unexpected(settings_.server + ": takes no passwords on this connection");
  if (capabilities->auth_xoauth2) text += ", XOAUTH2";
  if (capabilities->auth_oauthbearer) text += ", OAUTHBEARER";
  return text;
}

}  // namespace

std::expected<HostPort, std::string> parse_host_port(const std::string& text, std::uint16_t default_port) {
  const auto fail = [&text] { return std::unexpected("not a host and port: " + text); };
  std::string_view host = text;
  std::string_view port;
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    if (end == std::string_view::npos) return fail();
    port = host.substr(end + 1);
    host = host.substr(1, end - 1);
    if (!port.empty() && !port.starts_with(':')) return fail();
  } else if (const std::size_t colon = host.find(':'); colon != std::string_view::npos) {
    if (host.find(':', colon + 1) != std::string_view::npos) return fail();  // IPv6 without brackets
    port = host.substr(colon);
    host = host.substr(0, colon);
  }
  if (host.empty()) return fail();
  HostPort out{std::string(host), default_port};
  if (port.empty()) return out;
  port.remove_prefix(1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (error != std::errc() || end != port.data() + port.size() || out.port == 0) return fail();
  return out;
}

namespace {

// Where a login without a domain belongs; empty: nobody can tell.
std::string home_domain(const ImapBackend& settings, const std::string& append_domain) {
  if (!append_domain.empty()) return append_domain;
  const bool only = settings.domains.size() == 1 && !settings.domains.front().starts_with('*');
  return only ? settings.domains.front() : std::string();
}

}  // namespace

std::optional<ImapName> imap_name(const ImapBackend& settings, const std::string& login) {
  const std::size_t at = login.rfind('@');
  const bool has_domain = at != std::string::npos;
  std::string domain = settings.append_domain;
  if (auto canonical = policy::canonical_domain(domain); canonical && !domain.empty()) domain = *canonical;

  const bool appended = has_domain && !domain.empty() && login.substr(at + 1) == domain;
  if (!settings.domains.empty() && has_domain && !appended &&
      !serves(policy::DomainSet(settings.domains), login)) {
    return std::nullopt;
  }
  ImapName name;
  name.account.backend = "imap";
  name.login = login;
  name.account.login = login;
  // A server that ignores the domain lets alice and alice@example.com in as one.
  if (const std::string home = home_domain(settings, domain); !has_domain && !home.empty()) {
    name.account.identity = login + '@' + home;
  }
  if (settings.strip_domain && has_domain) {
    if (policy::canonical_domain(login.substr(at + 1)).value_or("") != domain || domain.empty()) {
      return std::nullopt;
    }
    name.login = login.substr(0, at);
    if (name.login.empty()) return std::nullopt;
  }
  if (domain.empty() || (has_domain && !settings.strip_domain)) return name;
  const auto address = owned_address(name.login + '@' + domain);
  if (!address) return settings.strip_domain ? std::nullopt : std::optional(std::move(name));
  // One account, whether the client wrote the domain or not.
  if (settings.strip_domain) name.account.login = *address;
  name.account.addresses = {*address};
  return name;
}

ImapServer::ImapServer(ImapBackend settings)
    : settings_(std::move(settings)),
      server_(parse_host_port(settings_.server,
                              settings_.tls == ConnectionTls::implicit ? imaps_port : imap_port)),
      tls_(TlsClient::create(settings_.ca_file,
                             settings_.verify_certificate && settings_.tls != ConnectionTls::off)) {}

std::uint8_t ImapServer::mechanisms() const {
  return smtp::mech_plain | smtp::mech_login | smtp::mech_xoauth2 | smtp::mech_oauthbearer;
}

std::unique_ptr<Asker> ImapServer::asker() { return std::make_unique<ImapAsker>(*this); }

// alice and alice@example.com.
std::string ImapServer::guessed_login(const std::string& login) const {
  auto name = imap_name(settings_, login);
  return name ? std::string(name->account.counted_as()) : login;
}

std::unique_ptr<Backend> make_imap_backend(const ImapBackend& settings) {
  return std::make_unique<ImapServer>(settings);
}

}  // namespace portcullis::auth
