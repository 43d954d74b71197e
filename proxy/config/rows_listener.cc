// [[listener]], [listener.limits] and [limits].
#include "proxy/config/rows.h"
#include "smtp/limits.h"

namespace portcullis::config {

namespace {

std::vector<Row<ListenerLimits>> limit_rows() {
  using L = ListenerLimits;
  constexpr std::uint64_t mib = 1024 * 1024;
  return {
      row("greeting_timeout", &L::greeting_timeout_seconds, seconds(1, 3600),
          "From the connection to the first command, a TLS handshake included."),
      row("command_timeout", &L::command_timeout_seconds, seconds(1, 3600),
          "Between two commands (RFC 5321 4.5.3.2 asks for 5 minutes)."),
      row("data_timeout", &L::data_timeout_seconds, seconds(1, 3600), "Between two pieces of a message."),
      row("session_timeout", &L::session_timeout_seconds, seconds(10, 86400), "The whole session."),
      row("minimum_rate", &L::minimum_bytes_per_second, size(0, mib),
          "What a message must bring each second on average, after a grace of one minute; 0: no minimum."),
      row("recipients", &L::recipients, count(1, 100000),
          "Recipients of one message; more are answered 452 (RFC 5321 asks for at least 100)."),
      row("message_size", &L::message_octets, size(1024, 1ULL << 40),
          "Announced as SIZE and enforced; an upstream's smaller limit wins."),
      row("header_size", &L::header_octets, size(4096, 16 * mib),
          "The header of a message. It is held in memory until it has been judged."),
      row("errors", &L::errors, count(1, 10000),
          "Commands answered with an error before the session is closed."),
      row("auth_attempts", &L::auth_attempts, count(1, 100), "Failed AUTHs before the session is closed."),
      row("commands_without_mail", &L::commands_without_mail, count(5, 100000),
          "NOOP, RSET, EHLO, BDAT chunks below 1 KiB and the like in a row before the session is closed."),
      row("connections_max", &L::connections, count(1, 1000000),
          "Connections at a time; more are answered 421. All listeners together have as many as the "
          "descriptors "
          "of the process (LimitNOFILE) leave room for."),
  };
}

std::vector<Row<ListenerLimits>> limit_rows_of_listener() {
  auto rows = limit_rows();
  for (auto& row : rows) row.reference.initial = "as in [limits]";
  return rows;
}

std::vector<Row<Draft>> limit_rows_of_file() {
  std::vector<Row<Draft>> rows;
  for (auto& row : limit_rows()) {
    auto read = [read = std::move(row.read)](Reader& reader, const Value& value, const std::string& key,
                                             Draft& draft) { read(reader, value, key, draft.limits); };
    rows.push_back({std::move(row.reference), std::move(read)});
  }
  return rows;
}

const Table<ListenerLimits>& listener_limits_table() {
  static const Table<ListenerLimits> table{
      "Limits of this listener, where they differ from [limits].", limit_rows_of_listener(), {}};
  return table;
}

// What a session says and hears.
std::vector<Row<Listener>> conversation_rows() {
  using L = Listener;
  return {
      row("banner", &L::banner, text(), "What follows `220 hostname` in the greeting; empty: `ESMTP`."),
      row("upstream", &L::upstream, name(),
          "The [[upstream]] that takes the mail. May be left out when there is only one."),
      row("bare_lf", &L::bare_lf,
          choice<smtp::BareLf>({{"refuse", smtp::BareLf::refuse}, {"normalize", smtp::BareLf::normalize}}),
          "Lines of a message that end in LF without CR: refuse the message, or make them CRLF. Bare CR "
          "and NUL are always refused."),
      row("hide_client_in_received", &L::hide_client_in_received, boolean(),
          "Leave address and HELO of authenticated clients out of the Received field."),
      row("hide_login_in_received", &L::hide_login_in_received, boolean(),
          "Leave the login out of the Received field."),
  };
}

std::vector<Row<Listener>> listener_rows() {
  using L = Listener;
  std::vector<Row<Listener>> rows{
      required(row("name", &L::name, name(), "What the journal, metrics and policies call it.")),
      row("address", &L::sockets, some(socket_address()),
          "Where to listen, with the port; one or several. `[::]` is IPv6 only: name both to have both."),
      row("systemd", &L::systemd_name, name(),
          "Instead of `address`: the FileDescriptorName of a socket that systemd passes."),
      row("tls", &L::tls,
          choice<ListenerTls>({{"off", ListenerTls::off},
                               {"starttls", ListenerTls::starttls},
                               {"implicit", ListenerTls::implicit}}),
          "`starttls` for ports 25 and 587, `implicit` for 465."),
      row("tls_profile", &L::tls_profile,
          choice<TlsProfile>({{"modern", TlsProfile::modern}, {"compatible", TlsProfile::compatible}}),
          "`modern`: of TLS 1.2 only ECDHE with AEAD. `compatible`: after those also CBC and RSA key "
          "exchange, for "
          "listeners that other mail servers send to (port 25): an old one that finds nothing in common "
          "sends "
          "in clear text instead. Not for listeners with passwords only."),
      row("auth", &L::auth,
          choice<AuthMode>(
              {{"off", AuthMode::off}, {"optional", AuthMode::optional}, {"required", AuthMode::required}}),
          "`required`: nothing without a login, not even to local recipients (ports 465 and 587). "
          "`optional`: strangers may send to `local_domains` (port 25)."),
      row("mechanisms", &L::mechanisms,
          list(choice<std::string>({{"PLAIN", "PLAIN"},
                                    {"LOGIN", "LOGIN"},
                                    {"XOAUTH2", "XOAUTH2"},
                                    {"OAUTHBEARER", "OAUTHBEARER"},
                                    {"EXTERNAL", "EXTERNAL"}})),
          "SASL mechanisms to offer; empty: all that the backends take."),
      row("client_certificate", &L::client_certificate,
          choice<ClientCertificate>({{"off", ClientCertificate::off},
                                     {"request", ClientCertificate::request},
                                     {"require", ClientCertificate::require}}),
          "Whether to ask clients for a certificate that `tls.client_ca` has signed; with one, they may AUTH "
          "EXTERNAL (see [auth.certificate])."),
      row("proxy_protocol", &L::proxy_protocol, boolean(),
          "Every connection starts with a PROXY header (v1 or v2). Only a [[network]] with "
          "`may_send_proxy_header` may connect."),
  };
  for (auto& row : conversation_rows()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace

const Table<Listener>& listener_table() {
  static const Table<Listener> table{"Where clients connect. At least one.",
                                     listener_rows(),
                                     {child<Listener>("limits", &Listener::limits, listener_limits_table())}};
  return table;
}

const Table<Draft>& limits_table() {
  const auto connections = [](Draft& d) -> auto& { return d.config.policy.connections; };
  static const Table<Draft> table{"Limits of every listener; each may have its own in [listener.limits].",
                                  limit_rows_of_file(),
                                  {child_of<Draft>("connections", connections, connections_table())}};
  return table;
}

}  // namespace portcullis::config
