// The user file as a backend (3.3): held in memory, read again when it changed (looked at once a second
// by a thread of its own, so that a slow disk holds nobody up). A new file with an error is reported and
// not used; the old one stays.
//
// An unknown login costs the same time as a wrong password: the password is hashed against another
// account's salt and the result thrown away.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "proxy/auth/backend.h"

namespace portcullis::auth {

class UserFileBackend : public Backend {
 public:
  struct Accounts;
  // `trouble` gets a sentence when a file can not be used; once per version of the file.
  // `known`: the accounts to go on with where the file has a mistake, of the configuration before this one.
  UserFileBackend(std::string path, std::function<void(const std::string&)> trouble,
                  std::chrono::milliseconds look_every = std::chrono::seconds(1),
                  std::shared_ptr<const Accounts> known = nullptr);
  ~UserFileBackend() override;

  BackendKind kind() const override { return BackendKind::file; }
  std::uint8_t mechanisms() const override;
  std::unique_ptr<Asker> asker() override;
  bool has(const std::string& login) const override;
  std::uint64_t generation() const override { return generation_.load(std::memory_order_acquire); }

  const std::string& path() const { return path_; }
  // Null while no usable file was ever read.
  std::shared_ptr<const Accounts> accounts() const;
  // Why the newest file is not in use; empty: it is.
  std::string problem() const;
  // Looks now; what the thread does every second.
  void look();

 private:
  struct Stamp;
  std::string path_;
  std::function<void(const std::string&)> trouble_;
  std::chrono::milliseconds look_every_;
  std::unique_ptr<Stamp> stamp_;  // of the version last looked at
  mutable std::mutex lock_;
  std::condition_variable stop_signal_;
  bool stopping_ = false;
  std::shared_ptr<const Accounts> accounts_;
  std::string problem_;
  std::atomic<std::uint64_t> generation_ = 0;
  std::thread looker_;
};

}  // namespace portcullis::auth
