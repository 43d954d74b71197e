// [[upstream]].
#include "proxy/config/rows.h"

namespace portcullis::config {

namespace {

using U = Upstream;

std::vector<Row<Upstream>> identity_rows() {
  return {
      required(row("name", &U::name, name(), "What listeners, the journal and metrics call it.")),
      required(row("servers", &U::servers, some(server_address()),
                   "The servers, in order of preference: the next is taken when one is down. Of a name every "
                   "address is tried. Without a port: 25, or 465 with `implicit_tls`.")),
      row("client_identity", &U::client_identity,
          choice<ClientIdentity>({{"none", ClientIdentity::none},
                                  {"xforward", ClientIdentity::xforward},
                                  {"xclient", ClientIdentity::xclient}}),
          "How to tell the server who the client is, if it offers the extension: `xforward` for its log, "
          "`xclient` for its access rules too, which gives each client a connection of its own, within "
          "`connections_max`."),
      row("helo", &U::helo, text(), "The name in our EHLO; empty: `hostname`."),
  };
}

std::vector<Row<Upstream>> tls_rows() {
  return {
      row("tls", &U::tls,
          choice<UpstreamTls>({{"off", UpstreamTls::off},
                               {"opportunistic", UpstreamTls::opportunistic},
                               {"required", UpstreamTls::required},
                               {"verified", UpstreamTls::verified}}),
          "`opportunistic`: STARTTLS if offered. `required`: no mail without. `verified`: and the "
          "certificate must "
          "be good for the server's name."),
      row("implicit_tls", &U::implicit_tls, boolean(), "TLS from the first octet instead of STARTTLS."),
      row("ca_file", &U::ca_file, path(), "PEM bundle to verify with; empty: the system's."),
      row("server_name", &U::server_name, text(),
          "The name to ask for and verify; empty: the server's host."),
      row("login", &U::login, text(), "The gateway's own login at the server (AUTH PLAIN); empty: none."),
      row("password", &U::password, secret(), "The password of `login`."),
      row("password_file", &U::password, secret_file(),
          "Instead of `password`: a file with the password, not readable by others."),
  };
}

std::vector<Row<Upstream>> relay_rows() {
  return {
      row("trusted_for_auth", &U::trusted_for_auth, boolean(),
          "Tell the server the client's login with `MAIL AUTH=` (RFC 4954 5)."),
      row("assume_eight_bit", &U::assume_eight_bit, boolean(),
          "The server takes 8-bit messages though it does not offer 8BITMIME."),
      row("chunking", &U::chunking, boolean(),
          "Use BDAT where the server offers CHUNKING: one round trip less for each message. For servers that "
          "never answer a command twice: nothing tells a late second 250 to an earlier command from the "
          "answer to the message, while with DATA the 354 stands between them."),
      row("connections_max", &U::connections_max, count(1, 10000), "Connections for each worker and server."),
      row("idle_max", &U::idle_max, count(0, 10000),
          "Connections kept open for the next message, for each worker, to all servers; more are closed "
          "after a "
          "second without work."),
      row("idle_timeout", &U::idle_seconds, seconds(1, 3600), "How long such a connection is kept."),
      row("transactions_per_connection", &U::transactions_per_connection, count(1, 1000000),
          "A connection that has carried this many messages is closed."),
      row("errors_per_connection", &U::errors_per_connection, count(1, 1000000),
          "A connection on which the server has refused this many commands is closed instead of used again: "
          "many "
          "servers count errors against the connection, whoever made them."),
      row("waiting_max", &U::waiting_max, count(0, 1000000),
          "Sessions of a worker that may wait for a free connection; more are answered 451."),
      row("waiting_timeout", &U::waiting_seconds, seconds(1, 600), "How long they wait."),
      row("client_share", &U::client_share_percent, count(1, 100),
          "Percent of `connections_max`: about as many connections one client network, or one login, may "
          "hold. "
          "The rest stays free for others; clients that hold fewer must leave fewer free."),
      row("reserved_for_users", &U::reserved_for_users, count(0, 90),
          "Percent of `connections_max` that only sessions with a login may hold, where a listener with "
          "`auth` "
          "uses this upstream."),
      row("slow_after", &U::slow_after_seconds, seconds(1, 600),
          "While other sessions wait, a connection is taken from a client that has not kept up `slow_rate` "
          "for so "
          "long, or that the server has not answered for so long, if its network or login holds at least two "
          "more than that of the one who waits. The client is answered 421 or 451."),
      row("slow_rate", &U::slow_rate, count(1, 1000000),
          "Octets a second of a client that is not slow in the sense of `slow_after`."),
      row("stalled_after", &U::stalled_after_seconds, seconds(1, 3600),
          "While other sessions wait, a connection is taken from a client that has been slow for so long, "
          "however "
          "few its network or login holds."),
      row("connect_timeout", &U::connect_timeout_seconds, seconds(1, 300),
          "For connect, TLS handshake and greeting together. Of the addresses of a name, each but the last "
          "has 2 s of it at most."),
      row("command_timeout", &U::command_timeout_seconds, seconds(1, 600), "For the reply to a command."),
      row("data_timeout", &U::data_timeout_seconds, seconds(1, 3600),
          "For the server to take the next piece of a message."),
      row("end_of_data_timeout", &U::end_of_data_timeout_seconds, seconds(1, 3600),
          "For the reply to a whole message (RFC 5321 4.5.3.2.6 asks for 10 minutes)."),
      row("probe_interval", &U::probe_seconds, seconds(1, 3600),
          "How often each server's health and capabilities are looked at."),
  };
}

std::vector<Row<Upstream>> all_rows() {
  auto rows = identity_rows();
  for (auto& row : tls_rows()) rows.push_back(std::move(row));
  for (auto& row : relay_rows()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace

const Table<Upstream>& upstream_table() {
  static const Table<Upstream> table{"The mail server behind the gateway. At least one.", all_rows(), {}};
  return table;
}

}  // namespace portcullis::config
