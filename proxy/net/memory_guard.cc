#include "proxy/net/memory_guard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <span>
#include <string>

namespace portcullis::net {

using session::MemoryPressure;

namespace {

constexpr unsigned looks_at_one_group_limit = 60;

// The start of a file of the kernel's, without memory of its own: this is asked every second.
std::string_view contents(const char* path, std::span<char> buffer) {
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  const ssize_t octets = ::read(file, buffer.data(), buffer.size());
  ::close(file);
  return {buffer.data(), octets > 0 ? static_cast<std::size_t>(octets) : 0};
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
  std::array<char, 64> buffer;
  constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t least = none;
  for (;;) {
    least = std::min(least, number(contents((root + path + "/memory.max").c_str(), buffer), none));
    if (path.empty()) return least == none ? 0 : least;
    path.resize(path.rfind('/'));
  }
}

std::uint64_t resident_octets() {
  // "size resident shared …", in pages.
  std::array<char, 128> buffer;
  std::string_view pages = contents("/proc/self/statm", buffer);
  pages.remove_prefix(std::min(pages.find(' '), pages.size()));
  if (pages.empty()) return 0;
  return number(pages.substr(1), 0) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
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
    // It hardly ever changes.
    if (group_looks_-- == 0) {
      std::array<char, 4096> buffer;
      group_limit_ = control_group_limit(contents("/proc/self/cgroup", buffer), "/sys/fs/cgroup");
      group_looks_ = looks_at_one_group_limit;
    }
    limit = group_limit_ - group_limit_ / 8;
  }
  const MemoryPressure now = level(resident_octets(), limit, pressure_.load(std::memory_order_relaxed));
  pressure_.store(now, std::memory_order_relaxed);
  return now;
}

}  // namespace portcullis::net
