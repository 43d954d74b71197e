// One login at an IMAP server, from greeting to goodbye, over a connection that is there already:
//   greeting, [STARTTLS,] CAPABILITY, AUTHENTICATE or LOGIN, LOGOUT.
// Refusals are told from outages by RFC 5530's response codes.
#pragma once

#include <functional>
#include <string>

#include "proxy/auth/backend.h"
#include "proxy/auth/imap_command.h"
#include "proxy/auth/imap_reply.h"
#include "proxy/auth/socket_stream.h"
#include "proxy/auth/tls_client.h"

namespace portcullis::auth {

struct LoginVerdict {
  Result result = Result::backend_error;
  std::string detail;
};

// What a tagged answer to a login means.
LoginVerdict judge(const ImapReply& reply);

class ImapLogin {
 public:
  // `tls` null: no STARTTLS. The references must outlive the object.
  ImapLogin(SocketStream& stream, const TlsClient* tls, const std::string& server_name, Deadline deadline)
      : stream_(stream), tls_(tls), server_name_(server_name), deadline_(deadline) {}

  // Up to the capabilities that hold for the login; an error is a sentence.
  std::expected<ImapCapabilities, std::string> greet();
  LoginVerdict log_in(const ImapCapabilities& capabilities, const std::string& login, const Query& query);
  void log_out();

 private:
  template <typename T>
  using Try = std::expected<T, std::string>;

  Try<ImapReply> next();
  // The tagged answer to the command sent last; untagged replies pass through `untagged`.
  Try<ImapReply> answer(const std::string& tag, const std::function<void(const ImapReply&)>& untagged);
  Try<ImapReply> command(const std::string& text, const std::function<void(const ImapReply&)>& untagged);
  Try<ImapCapabilities> ask_capabilities();
  Try<ImapReply> send_login(const std::string& tag, const ImapCommand& command);
  std::string next_tag() { return "p" + std::to_string(++tags_); }

  SocketStream& stream_;
  const TlsClient* tls_;
  const std::string& server_name_;
  Deadline deadline_;
  ImapParser parser_;
  unsigned tags_ = 0;
  unsigned replies_ = 0;
};

}  // namespace portcullis::auth
