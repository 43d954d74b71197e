#include "proxy/auth/imap_login.h"

#include <optional>
#include <utility>

namespace portcullis::auth {

namespace {

// A login needs a handful; more is a server that talks without end.
constexpr unsigned replies_max = 200;
constexpr std::size_t text_octets_max = 200;

// A server's words as they may stand in the journal.
std::string quoted(const ImapReply& reply) {
  std::string text = reply.code.empty() ? "" : "[" + reply.code + "] ";
  text += reply.text.substr(0, text_octets_max);
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

void ignore(const ImapReply&) {}

}  // namespace

LoginVerdict judge(const ImapReply& reply) {
  switch (reply.status) {
    case ImapReply::Status::ok:
      return {Result::success, {}};
    case ImapReply::Status::no:
      break;
    default:
      return {Result::backend_error, quoted(reply)};
  }
  // RFC 5530 section 3. What is not about the account but about the server must not look like a wrong
  // password (law 5).
  for (const char* outage :
       {"UNAVAILABLE", "CONTACTADMIN", "SERVERBUG", "PRIVACYREQUIRED", "INUSE", "LIMIT"}) {
    if (reply.code == outage) return {Result::backend_error, quoted(reply)};
  }
  if (reply.code == "EXPIRED") return {Result::password_expired, quoted(reply)};
  return {Result::bad_credentials, quoted(reply)};
}

ImapLogin::Try<ImapReply> ImapLogin::next() {
  ImapReply reply;
  for (;;) {
    switch (parser_.next(reply)) {
      case ImapParser::Status::reply:
        if (++replies_ > replies_max) return std::unexpected("the server sends too many replies");
        return reply;
      case ImapParser::Status::malformed:
        return std::unexpected("the server does not speak IMAP");
      case ImapParser::Status::need_more:
        break;
    }
    std::string bytes;
    if (auto done = stream_.read(bytes, 4096, deadline_); !done)
      return std::unexpected(std::move(done.error()));
    parser_.append(bytes);
  }
}

ImapLogin::Try<ImapReply> ImapLogin::answer(const std::string& tag,
                                            const std::function<void(const ImapReply&)>& untagged) {
  for (;;) {
    auto reply = next();
    if (!reply) return reply;
    switch (reply->kind) {
      case ImapReply::Kind::continuation:
        return reply;
      case ImapReply::Kind::tagged:
        if (reply->tag != tag) return std::unexpected("an answer to a command that was not given");
        return reply;
      case ImapReply::Kind::untagged:
        if (reply->status == ImapReply::Status::bye) return std::unexpected("BYE " + quoted(*reply));
        untagged(*reply);
        break;
    }
  }
}

ImapLogin::Try<ImapReply> ImapLogin::command(const std::string& text,
                                             const std::function<void(const ImapReply&)>& untagged) {
  const std::string tag = next_tag();
  if (auto sent = stream_.write(tag + " " + text + "\r\n", deadline_); !sent) {
    return std::unexpected(std::move(sent.error()));
  }
  auto reply = answer(tag, untagged);
  if (!reply) return reply;
  if (reply->kind != ImapReply::Kind::tagged || reply->status != ImapReply::Status::ok) {
    return std::unexpected(text + ": " + quoted(*reply));
  }
  return reply;
}

ImapLogin::Try<ImapCapabilities> ImapLogin::ask_capabilities() {
  std::optional<ImapCapabilities> found;
  const auto reply = command("CAPABILITY", [&found](const ImapReply& untagged) {
    if (untagged.text.starts_with("CAPABILITY ")) found = parse_capabilities(untagged.text);
  });
  if (!reply) return std::unexpected(reply.error());
  if (!found) return std::unexpected("the server does not say what it can do");
  return *found;
}

ImapLogin::Try<ImapCapabilities> ImapLogin::greet() {
  const auto greeting = next();
  if (!greeting) return std::unexpected(greeting.error());
  // PREAUTH: everybody is let in already; such a server can not tell a right password from a wrong one.
  if (greeting->kind != ImapReply::Kind::untagged || greeting->status != ImapReply::Status::ok) {
    return std::unexpected("greeting: " + quoted(*greeting));
  }
  if (tls_ == nullptr) return ask_capabilities();

  const auto before = ask_capabilities();
  if (!before) return before;
  if (!before->starttls) return std::unexpected("the server does not offer STARTTLS");
  const auto agreed = command("STARTTLS", ignore);
  if (!agreed) return std::unexpected(agreed.error());
  // Whatever came in clear after the agreement was put there by somebody in between.
  if (!parser_.empty()) return std::unexpected("text in clear after STARTTLS");
  if (auto done = stream_.start_tls(*tls_, server_name_, deadline_); !done) {
    return std::unexpected(std::move(done.error()));
  }
  return ask_capabilities();
}

// Piece by piece, each after a continuation; then the tagged answer.
ImapLogin::Try<ImapReply> ImapLogin::send_login(const std::string& tag, const ImapCommand& command) {
  bool said_last_word = false;
  for (std::size_t next_piece = 0;;) {
    if (next_piece < command.pieces.size()) {
      if (auto sent = stream_.write(command.pieces[next_piece], deadline_); !sent) {
        return std::unexpected(std::move(sent.error()));
      }
      ++next_piece;
    }
    auto reply = answer(tag, ignore);
    if (!reply || reply->kind == ImapReply::Kind::tagged) return reply;
    if (next_piece < command.pieces.size()) continue;
    if (command.last_word.empty() || said_last_word)
      return std::unexpected("the server asks for more than there is");
    said_last_word = true;
    if (auto sent = stream_.write(command.last_word, deadline_); !sent) {
      return std::unexpected(std::move(sent.error()));
    }
  }
}

LoginVerdict ImapLogin::log_in(const ImapCapabilities& capabilities, const std::string& login,
                               const Query& query) {
  const bool xoauth2 = query.mechanism == smtp::Mechanism::xoauth2;
  const bool oauthbearer = query.mechanism == smtp::Mechanism::oauthbearer;
  if ((xoauth2 && !capabilities.auth_xoauth2) || (oauthbearer && !capabilities.auth_oauthbearer)) {
    return {Result::unsupported, "the server does not offer this mechanism"};
  }
  if (!xoauth2 && !oauthbearer && !capabilities.auth_plain && capabilities.login_disabled) {
    return {Result::backend_error, "the server takes no passwords on this connection (LOGINDISABLED)"};
  }
  const std::string tag = next_tag();
  const auto command = login_command(tag, query.mechanism, login, query.secret.view(), capabilities);
  if (!command) return {Result::bad_credentials, "characters that no mechanism can carry"};
  const auto reply = send_login(tag, *command);
  if (!reply) return {Result::backend_error, reply.error()};
  return judge(*reply);
}

void ImapLogin::log_out() {
  // Courtesy: nobody waits for the answer.
  if (!stream_.write(next_tag() + " LOGOUT\r\n", deadline_)) return;
}

}  // namespace portcullis::auth
