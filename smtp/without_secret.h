// Servers quote the command that they refuse, and with it the password that was in it. What a server says is
// recorded and relayed without the secret, however it is written: as it is, in a quoted string, in base64 at
// any offset (SASL responses hold it in their middle), in hexadecimal, in letters of another case, or cut
// off.
#pragma once

#include <string>
#include <string_view>

namespace portcullis::smtp {

// `text` with "[...]" in place of what can be a part of `secret`. A secret of less than 4 octets would stand
// in ordinary words: then a text that has it is withheld as a whole.
std::string without_secret(std::string text, std::string_view secret);

}  // namespace portcullis::smtp
