// [tls] and [[tls.certificate]].
#include "proxy/config/rows.h"

namespace portcullis::config {

namespace {

const Table<Certificate>& certificate_table() {
  static const Table<Certificate> table{
      "Instead of `certificate` and `private_key` in [tls]: several, chosen by the name that the client asks "
      "for "
      "(SNI). The first is for clients that ask for none.",
      {
          required(row("certificate", &Certificate::certificate, path(), "PEM file: the chain, leaf first.")),
          required(row("private_key", &Certificate::private_key, path(),
                       "PEM file: the key, not readable by everybody.")),
          row("server_names", &Certificate::server_names, list(domain_pattern()),
              "The names it is for; empty: those in the certificate."),
      },
      {}};
  return table;
}

Certificate& only_certificate(Tls& tls) {
  if (tls.certificates.empty()) tls.certificates.emplace_back();
  return tls.certificates.front();
}

}  // namespace

const Table<Tls>& tls_table() {
  const auto certificate = [](Tls& t) -> auto& { return only_certificate(t).certificate; };
  const auto private_key = [](Tls& t) -> auto& { return only_certificate(t).private_key; };
  // A list begins anew: `private_key` beside it has been read into a certificate that nobody meant.
  const auto certificate_list = [](Tls& t) -> auto& {
    t.certificates.clear();
    return t.certificates;
  };
  static const Table<Tls> table{
      "TLS toward clients. Certificates are read again on SIGHUP.",
      {
          row_of<Tls>("certificate", certificate, path(), "PEM file: the certificate chain, leaf first."),
          row_of<Tls>(
              "private_key", private_key, path(),
              "PEM file: the private key. Readable by the program's user (or group), not by everybody."),
          row("minimum_version", &Tls::minimum_version,
              choice<std::uint16_t>({{"1.2", std::uint16_t{0x0303}}, {"1.3", std::uint16_t{0x0304}}}),
              "The oldest TLS version to speak."),
          row("curves", &Tls::curves,
              list(choice<std::string>(
                  {{"X25519", "X25519"}, {"P-256", "P-256"}, {"P-384", "P-384"}, {"P-521", "P-521"}})),
              "Key exchange groups in order of preference; empty: X25519, P-256, P-384."),
          row("client_ca", &Tls::client_ca, path(),
              "PEM bundle: who signs client certificates, for listeners that ask for them."),
          row("ticket_key_lifetime", &Tls::ticket_key_hours, duration(3'600'000, 0, 168),
              "Session resumption: keys are replaced this often; `0s` turns tickets off."),
      },
      {children_of<Tls>("certificate", certificate_list, certificate_table(), 10000)}};
  return table;
}

}  // namespace portcullis::config
