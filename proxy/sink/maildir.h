// Puts messages into a Maildir: written in tmp/, then renamed into new/, so that a reader sees whole
// messages only. Plain blocking writes: the sink serves demos and tests, not the gateway's loop.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace portcullis::sink {

class Maildir {
 public:
  // Creates the directory with tmp/, new/ and cur/ where they are missing; the error is a sentence.
  // `sync`: a message is on the disk before it counts as stored.
  static std::expected<Maildir, std::string> open(const std::string& directory, bool sync);

  const std::string& directory() const { return directory_; }
  bool sync() const { return sync_; }

 private:
  Maildir(std::string directory, bool sync) : directory_(std::move(directory)), sync_(sync) {}
  std::string directory_;
  bool sync_;
};

// One message on its way in. What is not committed is removed again.
class MaildirMessage {
 public:
  // `maildir` outlives the message. `id` must be unique in this process; the file's name has it,
  // beside the time and the process.
  MaildirMessage(const Maildir& maildir, std::string_view id);
  ~MaildirMessage();
  MaildirMessage(const MaildirMessage&) = delete;
  MaildirMessage& operator=(const MaildirMessage&) = delete;

  void append(std::string_view bytes);
  // Makes the message visible; false when anything went wrong since the beginning.
  bool commit();

 private:
  void flush();
  std::string path_in(const char* folder) const { return maildir_.directory() + folder + name_; }

  const Maildir& maildir_;
  std::string name_;
  bool failed_ = false;
  int file_ = -1;
  std::string buffer_;
};

}  // namespace portcullis::sink
