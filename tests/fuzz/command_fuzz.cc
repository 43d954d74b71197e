// Line splitting and verbs: the lines found do not depend on where the stream was cut, and no line
// holds what would end it early for somebody else.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "smtp/command.h"
#include "smtp/line.h"

namespace {

using namespace portcullis::smtp;

constexpr std::size_t max_octets = 64;

void require(bool ok) {
  if (!ok) std::abort();
}

struct Event {
  LineStatus status;
  std::string text;
  bool operator==(const Event&) const = default;
};

std::vector<Event> split(std::string_view bytes, std::size_t piece) {
  std::vector<Event> events;
  std::string kept;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    kept += bytes.substr(at, piece);
    for (;;) {
      const LineResult result = next_line(kept, max_octets);
      require((result.status == LineStatus::need_more) == (result.consumed == 0));
      require(result.consumed <= kept.size() && result.text.size() < max_octets - 1);
      if (result.status == LineStatus::need_more) break;
      require(result.text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
      events.push_back({result.status, std::string(result.text)});
      kept.erase(0, result.consumed);
    }
    require(kept.size() < max_octets);
  }
  return events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::vector<Event> events = split(bytes, size + 1);
  require(events == split(bytes, 1));
  require(events == split(bytes, 7));
  for (const Event& event : events) {
    const Command command = parse_command(event.text);
    require(command.argument.size() <= event.text.size());
    require(!name_of(command.verb).empty());
    is_valid_helo(command.argument);
  }
  return 0;
}
