#include "metrics/journal_sink.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <utility>

namespace portcullis::metrics {
namespace {

// POSIX: a write of at most this many octets to a pipe that poll calls writable does not block.
constexpr std::size_t pipe_octets_max = 4096;

std::uint64_t count_lines(std::string_view lines) {
  return static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
}

// A named pipe without a reader is an error, not a reason to wait for one: neither may the start hang, nor,
// when the file is opened anew, the stop.
int open_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
  if (fd >= 0) ::fcntl(fd, F_SETFL, O_APPEND);
  return fd;
}

int connect_syslog(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const timeval patience{.tv_sec = 1, .tv_usec = 0};  // seconds_refused_ counts these
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    ::close(fd);
    errno = error;
    return -1;
  }
  return fd;
}

// "<22>{json}" becomes what syslog(3) would send: "<22>Nov 21 17:45:03 portcullis[123]: {json}".
std::string syslog_datagram(std::string_view line) {
  const std::size_t after_priority = line.find('>') + 1;
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm local{};
  char stamp[32] = "";
  if (::localtime_r(&now, &local) != nullptr)
    static_cast<void>(std::strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", &local));
  return fmt::format("{}{} portcullis[{}]: {}", line.substr(0, after_priority), stamp, ::getpid(),
                     line.substr(after_priority));
}

// systemd.exec(5): JOURNAL_STREAM names device and inode of the stream that is connected to the journal. A
// program whose standard error was redirected since has another one.
bool stderr_is_journald() {
  const char* stream = std::getenv("JOURNAL_STREAM");  // NOLINT: nobody changes the environment
  struct stat status{};
  return stream != nullptr && ::fstat(STDERR_FILENO, &status) == 0 &&
         fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

}  // namespace

JournalSink::JournalSink(const JournalSettings& settings, const std::atomic<bool>& stopping)
    : settings_(settings),
      stopping_(stopping),
      to_journald_(settings.sink == JournalSettings::Sink::stderr_ && stderr_is_journald()) {
  std::string error;
  if (!open(error)) throw std::runtime_error(error);
}

JournalSink::~JournalSink() {
  if (fd_ >= 0) ::close(fd_);
}

bool JournalSink::open(std::string& error) {
  int fd = -1;
  std::string name;
  switch (settings_.sink) {
    case JournalSettings::Sink::stderr_:
      name = "standard error";
      fd = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
      break;
    case JournalSettings::Sink::file:
      name = settings_.path;
      fd = open_file(name);
      break;
    case JournalSettings::Sink::syslog:
      name = settings_.path.empty() ? "/dev/log" : settings_.path;
      fd = connect_syslog(name);
      break;
  }
  if (fd < 0) {
    error = fmt::format("journal: can not open {}: {}", name, std::strerror(errno));
    return false;
  }
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
  torn_ = false;
  struct stat status{};
  regular_ = ::fstat(fd_, &status) == 0 && S_ISREG(status.st_mode);
  return true;
}

std::string JournalSink::reopen() {
  std::string error;
  if (settings_.sink != JournalSettings::Sink::stderr_) open(error);
  return error;
}

std::uint64_t JournalSink::write(std::string_view lines) {
  return settings_.sink == JournalSettings::Sink::syslog ? write_datagrams(lines) : write_stream(lines);
}

std::uint64_t JournalSink::write_stream(std::string_view lines) {
  // A line that could not be finished is ended, so that only that one is lost to a reader.
  if (torn_ && !regular_ && !wait_writable()) return count_lines(lines);
  if (torn_ && ::write(fd_, "\n", 1) == 1) torn_ = false;
  if (torn_) return count_lines(lines);
  const std::string_view all = lines;
  struct stat status{};
  const std::int64_t size_before = regular_ && ::fstat(fd_, &status) == 0 ? status.st_size : -1;
  while (!lines.empty()) {
    std::string_view chunk = lines;
    if (!regular_) {
      if (!wait_writable()) return count_lines(lines);
      chunk = lines.substr(0, pipe_octets_max);
      const std::size_t whole_lines = chunk.rfind('\n');
      if (whole_lines != std::string_view::npos) chunk = chunk.substr(0, whole_lines + 1);
    }
    const ssize_t written = ::write(fd_, chunk.data(), chunk.size());
    if (written < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (written <= 0) {
      if (torn_) take_back(all.substr(0, all.size() - lines.size()), size_before);
      return count_lines(lines);
    }
    torn_ = chunk[static_cast<std::size_t>(written) - 1] != '\n';
    lines.remove_prefix(static_cast<std::size_t>(written));
    if (stopped_) last_progress_ = std::chrono::steady_clock::now();
  }
  return 0;
}

// The disk is full in the middle of a line: cuts the file back to its last whole line, unless somebody else
// writes to it too.
void JournalSink::take_back(std::string_view written, std::int64_t size_before) {
  struct stat status{};
  if (size_before < 0 || ::fstat(fd_, &status) != 0) return;
  if (status.st_size != size_before + static_cast<std::int64_t>(written.size())) return;
  const std::int64_t whole = size_before + static_cast<std::int64_t>(written.rfind('\n') + 1);
  if (::ftruncate(fd_, whole) != 0) return;
  // A file that was not opened for appending is written at the old place otherwise, behind a hole.
  torn_ = ::lseek(fd_, whole, SEEK_SET) < 0;
}

// The grace begins with the first look after the stop, and is not given again to each batch.
bool JournalSink::out_of_patience() {
  if (!stopping_.load()) return false;
  const auto now = std::chrono::steady_clock::now();
  if (!stopped_) stopped_ = last_progress_ = now;
  return now - *last_progress_ >= std::chrono::seconds(stop_grace_seconds) ||
         now - *stopped_ >= std::chrono::seconds(stop_patience_seconds);
}

bool JournalSink::wait_writable() {
  constexpr int look_ms = 100;  // for the stop
  while (!out_of_patience()) {
    pollfd poll_fd{.fd = fd_, .events = POLLOUT, .revents = 0};
    const int ready = ::poll(&poll_fd, 1, look_ms);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return true;  // write() tells what is wrong
  }
  return false;
}

std::uint64_t JournalSink::write_datagrams(std::string_view lines) {
  std::uint64_t lost = 0;
  while (!lines.empty()) {
    // Each of them would wait for a second.
    if (stopping_.load() && seconds_refused_ >= stop_grace_seconds) return lost + count_lines(lines);
    const std::size_t end = lines.find('\n');
    if (!send_datagram(lines.substr(0, end))) ++lost;
    lines.remove_prefix(end + 1);
  }
  return lost;
}

bool JournalSink::send_datagram(std::string_view line) {
  const std::string datagram = syslog_datagram(line);
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (::send(fd_, datagram.data(), datagram.size(), MSG_NOSIGNAL) >= 0) {
      seconds_refused_ = 0;
      return true;
    }
    if (errno == EAGAIN) ++seconds_refused_;
    if (errno != ECONNREFUSED && errno != ENOTCONN && errno != ECONNRESET) return false;
    reopen();  // the daemon was restarted
  }
  return false;
}

}  // namespace portcullis::metrics
