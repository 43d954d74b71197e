// Any bytes, at any cut: bounded output, progress, the same responses as uncut. The first octet seeds
// the cuts.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "metrics/http.h"

namespace {

using namespace portcullis::metrics;

HttpResponse answer(const HttpRequest& request) {
  if (request.path.empty() || request.path.front() != '/') std::abort();
  if (request.path.size() + request.query.size() > http_limits::target_octets) std::abort();
  return {.status = request.path == "/metrics" ? 200U : 404U, .body = "x\n"};
}

// `step`: octets a read; 0: all at once.
std::string converse(std::string_view bytes, std::size_t step) {
  const HttpHandler handler = answer;
  HttpConnection http(handler);
  std::string out, input;
  while (!bytes.empty() && !http.closing()) {
    const std::size_t count = step == 0 ? bytes.size() : std::min(step, bytes.size());
    input.append(bytes.substr(0, count));
    bytes.remove_prefix(count);
    while (!input.empty() && !http.closing()) {
      const std::size_t before = out.size();
      const auto fed = http.feed(input, out);
      if (fed.consumed == 0 || fed.consumed > input.size()) std::abort();
      if ((fed.status != 0) != (out.size() != before)) std::abort();
      if (out.size() - before > 1024) std::abort();
      input.erase(0, fed.consumed);
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string bytes(data + 1, data + size);
  const std::string whole = converse(bytes, 0);
  if (converse(bytes, 1U + data[0] % 64U) != whole) std::abort();
  if (converse(bytes, 1) != whole) std::abort();
  return 0;
}
