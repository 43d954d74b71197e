// The user file as a backend (3.3): held in memory, read again when it changed (whoever owns the backend
// calls look() about once a second, from a thread that a slow disk may hold up). A file that cannot be used
// is reported, and the old accounts stay; broken lines are reported and skipped (user_accounts.h).
//
// An unknown login costs the same time as a wrong password: the password is hashed against another
// account's salt and the result thrown away.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "proxy/auth/backend.h"
#include "proxy/auth/user_accounts.h"

namespace portcullis::auth {

class UserFileBackend : public Backend {
 public:
  // Looks at once. `trouble` gets a sentence when the file or a part of it cannot be used; once per version
  // of the file.
  UserFileBackend(std::string path, std::function<void(const std::string&)> trouble);
  ~UserFileBackend() override;

  BackendKind kind() const override { return BackendKind::file; }
  std::uint8_t mechanisms() const override;
  std::unique_ptr<Asker> asker() override;
  bool has(const std::string& login) const override;
  std::uint64_t generation() const override { return generation_.load(std::memory_order_acquire); }
  std::uint64_t version_of(const std::string& login) const override;
  AccountState look_again(policy::Account& account) const override;

  // Null while no usable file was ever read.
  std::shared_ptr<const UserAccounts> accounts() const;
  // Why the newest file, or a part of it, is not in use; empty: it is.
  std::string problem() const;
  // Reads the file if it changed. Returns at once where another thread is just doing so.
  void look();

 private:
  struct Stamp;
  const std::string path_;
  const std::function<void(const std::string&)> trouble_;
  std::mutex looking_;
  std::unique_ptr<Stamp> stamp_;  // of the version last looked at; guarded by looking_
  mutable std::mutex lock_;       // guards what follows
  std::shared_ptr<const UserAccounts> accounts_;
  std::string problem_;
  std::atomic<std::uint64_t> generation_ = 0;
};

}  // namespace portcullis::auth
