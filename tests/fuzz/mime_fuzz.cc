// The MIME scanner: the first line is the Content-Type, the rest the body. Any cut gives the same
// count, and the counts keep to their bounds.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "smtp/limits.h"
#include "smtp/mime.h"

namespace {

using namespace portcullis::smtp;

void require(bool holds) {
  if (!holds) std::abort();
}

MimeFacts scan(std::string_view type, std::string_view body, std::size_t piece) {
  MimeScanner scanner;
  scanner.begin(type, "", "");
  for (std::size_t at = 0; at < body.size(); at += piece) {
    const std::string part(body.substr(at, piece));
    scanner.feed(part);
  }
  return scanner.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t piece = std::size_t{1} + data[0] % 100;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::size_t line = std::min(text.find('\n'), text.size() - 1);
  const std::string_view type = text.substr(0, line);
  const std::string_view body = text.substr(line + 1);
  const MimeFacts facts = scan(type, body, size);
  require(facts == scan(type, body, piece));
  require(facts.parts >= 1 || facts.depth > 0);
  require(facts.parts <= limits::mime_parts && facts.depth <= limits::mime_depth);
  require(facts.attachments <= facts.parts);
  return 0;
}
