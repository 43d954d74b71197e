#include "metrics/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace portcullis::metrics {
namespace {

// Fields of /proc/self/stat (proc(5)), counted from 1 as there.
constexpr std::size_t utime = 14, stime = 15, starttime = 22, rss = 24;

// The fields from the third on: the second is the program's name, in parentheses, and may hold anything.
std::vector<double> stat_fields() {
  std::ifstream file("/proc/self/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::size_t after_name = text.rfind(')');
  std::vector<double> fields(2);
  if (after_name == std::string::npos || after_name + 2 >= text.size()) return fields;
  std::istringstream rest(text.substr(after_name + 2));
  std::string state;
  rest >> state;
  fields.push_back(0);
  for (double value = 0; rest >> value;) fields.push_back(value);
  return fields;
}

std::optional<double> boot_time() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("btime ")) return std::stod(line.substr(6));
  return std::nullopt;
}

std::optional<double> open_fds() {
  std::error_code error;
  std::filesystem::directory_iterator entries("/proc/self/fd", error);
  double count = -1;  // the directory itself is open while it is read
  while (!error && entries != std::filesystem::directory_iterator()) {
    ++count;
    entries.increment(error);
  }
  if (error || count < 0) return std::nullopt;
  return count;
}

}  // namespace

void read_process(Levels& levels) {
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const std::vector<double> fields = stat_fields();
  if (fields.size() >= rss && ticks > 0) {
    levels.set<Metric::process_cpu>((fields[utime - 1] + fields[stime - 1]) / ticks);
    levels.set<Metric::process_resident_memory>(fields[rss - 1] *
                                                static_cast<double>(::sysconf(_SC_PAGESIZE)));
    static const std::optional<double> booted = boot_time();
    if (booted) levels.set<Metric::process_start_time>(*booted + fields[starttime - 1] / ticks);
  }
  if (const auto count = open_fds()) levels.set<Metric::process_open_fds>(*count);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    levels.set<Metric::process_max_fds>(static_cast<double>(limit.rlim_cur));
}

}  // namespace portcullis::metrics
