// The configuration: whatever the text, there is a configuration or an error, never both or neither,
// and no problem can write to a terminal anything but one line of text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proxy/config/config.h"

namespace {

using namespace portcullis::config;

void require(bool ok) {
  if (!ok) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Loaded loaded = load_text({reinterpret_cast<const char*>(data), size}, "fuzz.toml");
  const bool failed = std::any_of(loaded.problems.begin(), loaded.problems.end(), [](const Problem& problem) {
    return problem.severity == Problem::Severity::error;
  });
  require(failed == (loaded.config == nullptr));
  for (const Problem& problem : loaded.problems) {
    require(problem.file == "fuzz.toml" && !problem.text.empty());
    require((problem.line == 0) == (problem.column == 0));
    for (const char c : to_string(problem)) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  }
  if (loaded.config == nullptr) return 0;
  require(!loaded.config->hostname.empty() && !loaded.config->listeners.empty());
  for (const Listener& listener : loaded.config->listeners) {
    require(!listener.upstream.empty());
    require(listener.sockets.empty() != listener.systemd_name.empty());
  }
  for (const Upstream& upstream : loaded.config->upstreams) {
    require(!upstream.servers.empty());
    for (const Server& server : upstream.servers) require(server.port != 0);
  }
  return 0;
}
