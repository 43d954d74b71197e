#include "proxy/sink/maildir.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <system_error>
#include <utility>

namespace portcullis::sink {
namespace {

constexpr std::size_t buffer_octets = std::size_t{64} * 1024;

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// The name of a file is on the disk when its directory is.
bool sync_directory(const std::string& path) {
  const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return false;
  const bool synced = ::fsync(directory) == 0;
  ::close(directory);
  return synced;
}

}  // namespace

MaildirMessage::MaildirMessage(const Maildir& maildir, std::string_view id)
    : maildir_(maildir), name_(std::to_string(std::time(nullptr)) + ".P" + std::to_string(::getpid()) + "Q") {
  name_ += id;
  name_ += ".sink";
  file_ = ::open(path_in("/tmp/").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  failed_ = file_ < 0;
}

MaildirMessage::~MaildirMessage() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(path_in("/tmp/").c_str());
}

void MaildirMessage::append(std::string_view bytes) {
  if (failed_) return;
  buffer_ += bytes;
  if (buffer_.size() >= buffer_octets) flush();
}

void MaildirMessage::flush() {
  failed_ = failed_ || !write_all(file_, buffer_);
  buffer_.clear();
}

bool MaildirMessage::commit() {
  if (failed_) return false;
  flush();
  if (failed_ || (maildir_.sync() && ::fsync(file_) != 0)) return false;
  if (std::rename(path_in("/tmp/").c_str(), path_in("/new/").c_str()) != 0) return false;
  ::close(std::exchange(file_, -1));
  return !maildir_.sync() || sync_directory(maildir_.directory() + "/new");
}

std::expected<Maildir, std::string> Maildir::open(const std::string& directory, bool sync) {
  for (const char* folder : {"/tmp", "/new", "/cur"}) {
    std::error_code error;
    std::filesystem::create_directories(directory + folder, error);
    if (error) return std::unexpected("cannot make " + directory + folder + ": " + error.message());
    if (::access((directory + folder).c_str(), W_OK) != 0) {
      return std::unexpected("cannot write to " + directory + folder);
    }
  }
  return Maildir(directory, sync);
}

}  // namespace portcullis::sink
