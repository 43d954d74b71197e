// What an IMAP server says: however the stream is cut, the same replies, within the bounds.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proxy/auth/imap_reply.h"

namespace {

using portcullis::auth::ImapParser;
using portcullis::auth::ImapReply;

std::string parse(std::string_view stream, std::size_t step) {
  ImapParser parser;
  std::string out;
  while (!stream.empty()) {
    const std::size_t n = std::min(step, stream.size());
    parser.append(stream.substr(0, n));
    stream.remove_prefix(n);
    ImapReply reply;
    ImapParser::Status status = ImapParser::Status::need_more;
    while ((status = parser.next(reply)) == ImapParser::Status::reply) {
      if (reply.text.size() + reply.code.size() + reply.arguments.size() >
          ImapParser::reply_octets_max + 64) {
        std::abort();
      }
      if (reply.text.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) std::abort();
      out += std::to_string(static_cast<int>(reply.kind)) + std::to_string(static_cast<int>(reply.status)) +
             reply.tag + '|' + reply.code + '|' + reply.arguments + '|' + reply.text + '\n';
      portcullis::auth::parse_capabilities(reply.text);
    }
    if (status == ImapParser::Status::malformed) return out + "malformed";
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view stream(reinterpret_cast<const char*>(data), size);
  const std::string whole = parse(stream, std::max<std::size_t>(size, 1));
  if (parse(stream, 1) != whole || parse(stream, 7) != whole) std::abort();
  return 0;
}
