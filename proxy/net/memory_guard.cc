#include "proxy/net/memory_guard.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>

namespace portcullis::net {

using session::MemoryPressure;

namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The number at the start of `text`, or `otherwise`: "max" is no number.
std::uint64_t number(std::string_view text, std::uint64_t otherwise) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end != text.data() ? value : otherwise;
}

}  // namespace

std::uint64_t control_group_limit(std::string_view groups, const char* root) {
  // One line of version 2: "0::/system.slice/portcullis.service".
  const std::size_t line = groups.find("0::/");
  if (line == std::string_view::npos) return 0;
  std::string path(groups.substr(line + 3, groups.find('\n', line) - line - 3));
  constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t least = none;
  for (;;) {
    least = std::min(least, number(contents(root + path + "/memory.max"), none));
    if (path.empty()) return least == none ? 0 : least;
    path.resize(path.rfind('/'));
  }
}

std::uint64_t resident_octets() {
  // "size resident shared …", in pages.
  const std::string pages = contents("/proc/self/statm");
  const std::size_t second = std::min(pages.find(' '), pages.size() - 1) + 1;
  return pages.empty() ? 0
                       : number(std::string_view(pages).substr(second), 0) *
                             static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

MemoryPressure MemoryGuard::level(std::uint64_t octets, std::uint64_t limit, MemoryPressure before) {
  if (limit == 0) return MemoryPressure::none;
  const auto reached = [&](std::uint64_t bound, MemoryPressure what) {
    return octets >= (before >= what ? bound - bound / 16 : bound);
  };
  if (reached(limit + limit / 8, MemoryPressure::critical)) return MemoryPressure::critical;
  return reached(limit, MemoryPressure::high) ? MemoryPressure::high : MemoryPressure::none;
}

MemoryPressure MemoryGuard::look(std::uint64_t limit) {
  if (limit == 0) {
    const std::uint64_t group = control_group_limit(contents("/proc/self/cgroup"), "/sys/fs/cgroup");
    limit = group - group / 8;
  }
  const MemoryPressure now = level(resident_octets(), limit, pressure_.load(std::memory_order_relaxed));
  pressure_.store(now, std::memory_order_relaxed);
  return now;
}

}  // namespace portcullis::net
