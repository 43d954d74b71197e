// DATA and BDAT framing: whatever the cut, the result is the same; a message ends only at CRLF.CRLF;
// what comes out has no bare CR, LF or NUL and survives the writer and a second reader unchanged.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "smtp/body.h"

namespace {

using namespace portcullis::smtp;

void require(bool holds) {
  if (!holds) std::abort();
}

struct Result {
  std::string content;
  BodyFault fault = BodyFault::none;
  bool done = false;
  bool eight_bit = false;
  std::size_t consumed = 0;
  bool operator==(const Result&) const = default;
};

Result read(std::string_view bytes, BareLf mode, std::size_t piece) {
  DataReader reader(mode);
  Result result;
  Slices slices;
  while (!bytes.empty() && !reader.done()) {
    const std::string part(bytes.substr(0, piece));
    slices.clear();
    const std::size_t consumed = reader.feed(part, slices);
    for (auto slice : slices) result.content += slice;
    result.consumed += consumed;
    bytes.remove_prefix(consumed);
  }
  result.fault = reader.fault();
  result.done = reader.done();
  result.eight_bit = reader.saw_eight_bit();
  require(reader.content_octets() == result.content.size());
  return result;
}

bool clean(std::string_view content) {
  for (std::size_t i = 0; i < content.size(); ++i) {
    if (content[i] == '\0') return false;
    if (content[i] == '\n' && (i == 0 || content[i - 1] != '\r')) return false;
    if (content[i] == '\r' && (i + 1 == content.size() || content[i + 1] != '\n')) return false;
  }
  return true;
}

void check_scanner(std::string_view bytes, BareLf mode, std::size_t piece) {
  Result results[2];
  for (const std::size_t length : {bytes.size(), piece}) {
    Result& result = results[length == piece];
    ContentScanner scanner(mode);
    for (std::size_t at = 0; at < bytes.size(); at += length) {
      const std::string part(bytes.substr(at, length));
      Slices slices;
      scanner.feed(part, slices);
      for (auto slice : slices) result.content += slice;
    }
    scanner.finish();
    result.fault = scanner.fault();
    if (result.fault != BodyFault::none) continue;
    require(clean(result.content));
    require(scanner.ends_with_crlf() == (result.content.empty() || result.content.ends_with("\r\n")));
  }
  if (piece != bytes.size()) require(results[0] == results[1]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t piece = std::size_t{1} + data[0] % 80;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  for (const BareLf mode : {BareLf::refuse, BareLf::normalize}) {
    const Result whole = read(bytes, mode, bytes.size());
    require(whole == read(bytes, mode, piece));
    const std::size_t end = ("\r\n" + std::string(bytes)).find("\r\n.\r\n");
    require(whole.done == (end != std::string::npos));
    if (whole.done) require(whole.consumed == end + 3);
    check_scanner(bytes, mode, piece);
    if (!whole.done || whole.fault != BodyFault::none) continue;
    require(clean(whole.content));

    DataWriter writer;
    Slices slices;
    writer.feed(whole.content, slices);
    std::string framed;
    for (auto slice : slices) framed += slice;
    framed += writer.finish();
    const Result again = read(framed, BareLf::refuse, piece);
    require(again.done && again.consumed == framed.size() && again.content == whole.content);
  }
  return 0;
}
