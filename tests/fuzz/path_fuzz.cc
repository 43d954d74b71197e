// Paths: what is accepted has one spelling, which reads as the same mailbox again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "smtp/limits.h"
#include "smtp/path.h"

namespace {

using namespace portcullis::smtp;

void require(bool ok) {
  if (!ok) std::abort();
}

template <typename Parse>
void check(Parse parse, std::string_view prefix, std::string_view argument, bool allow_utf8) {
  const auto parsed = parse(argument, allow_utf8);
  if (!parsed) return;
  const std::string wire = to_wire(parsed->path);
  require(wire.size() <= limits::path_octets);
  require(wire.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
  require(parsed->path.mailbox.local.size() <= limits::path_octets);
  require(parsed->path.mailbox.local.find('@') == std::string::npos);
  require(parsed->path.mailbox.domain.empty() || is_valid_domain(parsed->path.mailbox.domain, allow_utf8));
  require(allow_utf8 || !parsed->path.utf8);
  const std::string again = std::string(prefix) + wire;
  const auto reparsed = parse(again, allow_utf8);
  require(reparsed && reparsed->path.mailbox == parsed->path.mailbox &&
          reparsed->path.null == parsed->path.null);
  require(to_wire(reparsed->path) == wire && reparsed->parameters.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const bool allow_utf8 : {false, true}) {
    check(parse_mail_argument, "FROM:", text, allow_utf8);
    check(parse_rcpt_argument, "TO:", text, allow_utf8);
    const auto mailbox = parse_mailbox(text, allow_utf8);
    if (mailbox) require(parse_mailbox(to_string(*mailbox), allow_utf8) == *mailbox);
  }
  return 0;
}
