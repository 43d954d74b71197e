#include "proxy/auth/imap_command.h"

#include <algorithm>
#include <utility>

#include "smtp/base64.h"

namespace portcullis::auth {

namespace {

constexpr std::size_t quoted_octets_max = 1000;
constexpr std::size_t pieces_max = 3;  // login and secret as literals

bool has(std::string_view text, std::string_view any) {
  return text.find_first_of(any) != std::string_view::npos;
}

bool is_quotable(std::string_view text) {
  return text.size() <= quoted_octets_max &&
         std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

// Here and below room is made before a secret is appended: a string that grows leaves a copy of what it held
// in memory that nobody wipes.

// An astring (RFC 3501 section 9): quoted where that is allowed, else a synchronizing literal, which
// ends the piece.
void append_string(ImapCommand& command, std::string_view text) {
  std::string& piece = command.pieces.back();
  if (is_quotable(text)) {
    piece.reserve(piece.size() + 2 * text.size() + 5);  // with what may follow
    piece += '"';
    for (const char c : text) {
      if (c == '"' || c == '\\') piece += '\\';
      piece += c;
    }
    piece += '"';
    return;
  }
  piece += '{' + std::to_string(text.size()) + "}\r\n";
  std::string& literal = command.pieces.emplace_back();
  literal.reserve(text.size() + 5);
  literal += text;
}

ImapCommand with_login(std::string_view tag, std::string_view login, std::string_view secret) {
  ImapCommand command;
  command.pieces.reserve(pieces_max);
  command.pieces.emplace_back(tag);
  command.pieces.back() += " LOGIN ";
  append_string(command, login);
  command.pieces.back() += ' ';
  append_string(command, secret);
  command.pieces.back() += "\r\n";
  return command;
}

// AUTHENTICATE with its one response in the command where the server can take that (RFC 4959).
ImapCommand with_response(std::string_view tag, std::string_view mechanism, std::string response,
                          bool sasl_ir) {
  ImapCommand command;
  std::string encoded = smtp::encode_base64(response);
  smtp::wipe(response);
  command.pieces.reserve(pieces_max);
  command.pieces.emplace_back(tag);
  command.pieces.back() += " AUTHENTICATE ";
  command.pieces.back() += mechanism;
  if (sasl_ir) {
    command.pieces.back() += ' ';
  } else {
    command.pieces.back() += "\r\n";
    command.pieces.emplace_back();
  }
  std::string& last = command.pieces.back();
  last.reserve(last.size() + encoded.size() + 2);
  last += encoded;
  last += "\r\n";
  smtp::wipe(encoded);
  return command;
}

// RFC 5801 section 4: "," and "=" of a name in a GS2 header.
std::string gs2_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ',') {
      out += "=2C";
    } else if (c == '=') {
      out += "=3D";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

ImapCommand::~ImapCommand() {
  for (std::string& piece : pieces) smtp::wipe(piece);
}

std::optional<ImapCommand> login_command(std::string_view tag, smtp::Mechanism mechanism,
                                         std::string_view login, std::string_view secret,
                                         const ImapCapabilities& capabilities) {
  static constexpr std::string_view line_breakers("\r\n\0", 3);
  if (has(login, line_breakers) || has(secret, line_breakers)) return std::nullopt;
  const bool ir = capabilities.sasl_ir;
  switch (mechanism) {
    case smtp::Mechanism::plain:
    case smtp::Mechanism::login: {
      if (!capabilities.auth_plain) return with_login(tag, login, secret);
      std::string response;
      response.reserve(login.size() + secret.size() + 2);
      response += '\0';  // RFC 4616: no authzid
      response += login;
      response += '\0';
      response += secret;
      return with_response(tag, "PLAIN", std::move(response), ir);
    }
    case smtp::Mechanism::xoauth2:
    case smtp::Mechanism::oauthbearer:
      break;
    case smtp::Mechanism::external:
      return std::nullopt;
  }
  const auto is_control = [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; };
  if (std::ranges::any_of(login, is_control) || std::ranges::any_of(secret, is_control)) return std::nullopt;
  const bool xoauth2 = mechanism == smtp::Mechanism::xoauth2;
  std::string response = xoauth2 ? "user=" + std::string(login) + '\1' : "n,a=" + gs2_name(login) + ",\1";
  response.reserve(response.size() + secret.size() + 14);
  response += "auth=Bearer ";
  response += secret;
  response += "\1\1";
  auto command = with_response(tag, xoauth2 ? "XOAUTH2" : "OAUTHBEARER", std::move(response), ir);
  command.last_word = xoauth2 ? "\r\n" : "AQ==\r\n";  // RFC 7628 section 3.2.3: a single ^A
  return command;
}

}  // namespace portcullis::auth
