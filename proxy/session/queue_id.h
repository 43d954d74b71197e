// The queue id in an upstream's final 250: "Ok: queued as 4XyZ" (Postfix), "OK id=1abc-…" (Exim),
// "<id> Queued mail for delivery" (Exchange), "abc123 Message accepted for delivery" (sendmail).
#pragma once

#include <string>
#include <string_view>

namespace portcullis::session {

// Empty when the text has none of the known forms. At most 128 octets, printable ASCII only.
std::string queue_id(std::string_view reply_text);

}  // namespace portcullis::session
