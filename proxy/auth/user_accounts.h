// The accounts of a user file as they are held in memory: immutable, shared by all who ask. An account whose
// line did not change is the same object in the next version of the file, so that an edit of one line costs
// one line.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>

#include "proxy/auth/user_file.h"

namespace portcullis::auth {

class UserAccounts {
 public:
  struct Account {
    UserEntry entry;
    // Of the line: the upper half changes with the hash, the lower with addresses and groups. Never 0.
    std::uint64_t version = 0;
  };

  struct Loaded {
    std::shared_ptr<const UserAccounts> accounts;  // null: the file is not used
    std::string problem;  // why it is not used, or which lines were skipped; empty: all is well
    bool retry = false;   // what kept us from it may go without a change of the file
  };
  // Reads the file, line by line. A broken line is skipped; where its login can be read, the account of
  // `before` stays. A file is not used that cannot be read, was written to meanwhile, or has no account
  // although it does not say that this is meant; nor one that ends inside a line and has fewer accounts than
  // `before`: somebody is still writing it, or the disk was full.
  static Loaded load(const std::string& path, const UserAccounts* before);

  std::shared_ptr<const Account> find(std::string_view login) const;
  std::size_t size() const { return by_login_.size(); }
  // The line that is broken and would say what the account is; 0: none.
  std::uint32_t broken_line_of(const std::string& login) const;
  // A hash of the kind that most accounts have, for logins that do not exist.
  const std::string& dummy_hash() const { return dummy_hash_; }

 private:
  class Loader;
  using Entry = std::shared_ptr<const Account>;
  static std::string_view login_of(std::string_view login) { return login; }
  static std::string_view login_of(const Entry& entry) { return entry->entry.login; }
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const auto& key) const { return std::hash<std::string_view>()(login_of(key)); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const { return login_of(a) == login_of(b); }
  };

  std::unordered_set<Entry, Hash, Equal> by_login_;
  std::map<std::string, std::uint32_t> broken_;
  std::string dummy_hash_;
};

}  // namespace portcullis::auth
