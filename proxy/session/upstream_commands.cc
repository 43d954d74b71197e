#include "proxy/session/upstream_commands.h"

#include "proxy/session/message_size.h"

namespace portcullis::session {

namespace {

constexpr std::size_t xforward_line_octets = 510;
constexpr std::size_t attribute_octets = 255;
// Besides the mailbox, in nearly every MAIL and RCPT.
constexpr std::size_t command_octets = 64;

std::string xtext_or_unavailable(std::string_view value) {
  if (value.empty()) return "[UNAVAILABLE]";
  return smtp::encode_xtext(value.substr(0, attribute_octets / 3));
}

// Not shortened: that would be another account's.
std::string whole_login(std::string_view login) {
  std::string value = smtp::encode_xtext(login);
  return value.empty() || value.size() > attribute_octets ? "[UNAVAILABLE]" : value;
}

}  // namespace

void append_mail(std::string& out, const smtp::Path& path, const smtp::MailParameters& parameters,
                 const smtp::Extensions& upstream, std::string_view auth) {
  out.reserve(out.size() + path.mailbox.local.size() + path.mailbox.domain.size() + command_octets);
  out += "MAIL FROM:";
  smtp::append_wire(out, path);
  if (parameters.size_octets && upstream.size) {
    out += " SIZE=";
    out += std::to_string(forwarded_size(*parameters.size_octets, upstream));
  }
  if (parameters.body && upstream.eight_bit_mime) {
    out += *parameters.body == smtp::Body::eight_bit_mime ? " BODY=8BITMIME" : " BODY=7BIT";
  }
  if (parameters.smtputf8 && upstream.smtputf8) out += " SMTPUTF8";
  if (!auth.empty() && upstream.auth != 0) {
    out += " AUTH=";
    out += auth == "<>" ? std::string(auth) : smtp::encode_xtext(auth);
  }
  if (upstream.dsn) {
    if (parameters.ret) out += " RET=" + *parameters.ret;
    if (parameters.envid) out += " ENVID=" + *parameters.envid;
  }
  out += "\r\n";
}

void append_rcpt(std::string& out, const smtp::Path& path, const smtp::RcptParameters& parameters,
                 const smtp::Extensions& upstream) {
  out.reserve(out.size() + path.mailbox.local.size() + path.mailbox.domain.size() + command_octets);
  out += "RCPT TO:";
  smtp::append_wire(out, path);
  if (upstream.dsn) {
    if (parameters.notify) out += " NOTIFY=" + *parameters.notify;
    if (parameters.orcpt) out += " ORCPT=" + *parameters.orcpt;
  }
  out += "\r\n";
}

std::size_t append_xforward(std::string& out, const ClientIdentityFacts& client, std::uint16_t offered) {
  std::size_t commands = 0;
  std::string line;
  const auto add = [&](smtp::XAttributeBit bit, std::string_view name, const std::string& value) {
    if ((offered & bit) == 0) return;
    if (!line.empty() && line.size() + name.size() + value.size() + 2 > xforward_line_octets) {
      out += line + "\r\n";
      line.clear();
    }
    if (line.empty()) {
      line = "XFORWARD";
      ++commands;
    }
    line += ' ';
    line += name;
    line += '=';
    line += value;
  };
  add(smtp::x_name, "NAME", xtext_or_unavailable(client.name));
  add(smtp::x_addr, "ADDR",
      client.address_literal.empty() ? "[UNAVAILABLE]" : std::string(client.address_literal));
  add(smtp::x_port, "PORT", client.port == 0 ? "[UNAVAILABLE]" : std::to_string(client.port));
  add(smtp::x_proto, "PROTO", client.esmtp ? "ESMTP" : "SMTP");
  add(smtp::x_helo, "HELO", xtext_or_unavailable(client.helo));
  add(smtp::x_ident, "IDENT", xtext_or_unavailable(client.id));
  add(smtp::x_source, "SOURCE", client.local ? "LOCAL" : "REMOTE");
  if (!line.empty()) out += line + "\r\n";
  return commands;
}

std::string xclient_attributes(const ClientIdentityFacts& client) {
  std::string list = "NAME=[UNAVAILABLE] PORT=" + std::to_string(client.port);
  list += client.esmtp ? " PROTO=ESMTP" : " PROTO=SMTP";
  list += " HELO=" + xtext_or_unavailable(client.helo);
  list += " LOGIN=" + whole_login(client.login);
  list += " ADDR=";
  list += client.address_literal;
  return list;
}

}  // namespace portcullis::session
