// A peer's replies: the same under every cut, bounded, and harmless when they are sent on.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "smtp/extensions.h"
#include "smtp/limits.h"
#include "smtp/reply.h"

namespace {

using namespace portcullis::smtp;

void require(bool ok) {
  if (!ok) std::abort();
}

struct Parsed {
  std::vector<Reply> replies;
  bool malformed = false;
  bool operator==(const Parsed&) const = default;
};

Parsed parse(std::string_view bytes, std::size_t piece) {
  Parsed parsed;
  ReplyParser parser;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    std::string_view rest = bytes.substr(at, piece);
    while (!rest.empty()) {
      const std::size_t consumed = parser.feed(rest);
      require(consumed > 0 && consumed <= rest.size());
      rest.remove_prefix(consumed);
      if (parser.status() == ReplyParser::Status::complete) parsed.replies.push_back(parser.take());
    }
  }
  parsed.malformed = parser.status() == ReplyParser::Status::malformed;
  return parsed;
}

// Relayed, it is one well-formed reply with the same code.
void check_relay(const Reply& reply) {
  require(reply.code >= 200 && reply.code <= 599 && reply.text.size() <= limits::reply_text_octets);
  Reply relayed = reply;
  relayed.text = cleaned_text(reply.text, limits::relayed_reply_text_octets);
  std::string wire;
  append_wire(wire, relayed);
  ReplyParser parser;
  require(parser.feed(wire) == wire.size());
  require(parser.status() == ReplyParser::Status::complete);
  require(parser.take().code == reply.code);
  for (const char c : wire)
    require(c == '\r' || c == '\n' || c == '\t' || static_cast<unsigned char>(c) >= ' ');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Parsed parsed = parse(bytes, size + 1);
  require(parsed == parse(bytes, 1));
  require(parsed == parse(bytes, 5));
  for (const Reply& reply : parsed.replies) {
    check_relay(reply);
    const Extensions extensions = parse_ehlo_reply(reply);
    require(!extensions.esmtp || parse_ehlo_reply(render_ehlo(extensions, "greeting")) == extensions);
  }
  return 0;
}
