// Commands that carry a login and a secret, rendered so that neither can end the command and begin
// another one. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/auth/imap_reply.h"
#include "smtp/sasl.h"

namespace portcullis::auth {

// A command in the pieces in which it is sent: each but the first only after a continuation ("+") from
// the server. Every piece ends in CRLF.
struct ImapCommand {
  std::vector<std::string> pieces;
  // What to answer if the server sends one more "+" than there are pieces: a failed OAuth login is told
  // why that way and must say something before it hears NO. Empty: such a "+" is an error.
  std::string last_word;

  ImapCommand() = default;
  ImapCommand(ImapCommand&&) = default;
  ImapCommand& operator=(ImapCommand&&) = default;
  ~ImapCommand();  // wipes the pieces
};

// nullopt when login or secret contain what the mechanism can not carry (CR, LF, NUL; control characters
// in OAuth). OAuth mechanisms need their capability, which the caller checks; passwords go by
// AUTHENTICATE PLAIN where offered, else by LOGIN.
std::optional<ImapCommand> login_command(std::string_view tag, smtp::Mechanism mechanism,
                                         std::string_view login, std::string_view secret,
                                         const ImapCapabilities& capabilities);

}  // namespace portcullis::auth
