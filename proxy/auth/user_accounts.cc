#include "proxy/auth/user_accounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <expected>
#include <system_error>
#include <utility>

#include "policy/hash.h"
#include "proxy/auth/password_hash.h"

namespace portcullis::auth {

namespace {

constexpr std::size_t problems_named = 5;

std::uint64_t version_of(const UserEntry& entry) {
  std::string rest;
  for (const auto* list : {&entry.addresses, &entry.groups}) {
    for (const std::string& each : *list) rest += each + '\n';
    rest += '\n';
  }
  return (policy::keyed_hash(entry.hash) & ~0xffffffffULL) | (policy::keyed_hash(rest) >> 32U) | 1;
}

bool same(const UserEntry& a, const UserEntry& b) {
  return a.hash == b.hash && a.addresses == b.addresses && a.groups == b.groups;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

class UserAccounts::Loader {
 public:
  Loader(const std::string& path, const UserAccounts* before) : path_(path), before_(before) {}
  Loaded load();

 private:
  Loaded unused(const std::string& why, bool retry = false) const {
    return {nullptr, path_ + ": " + why, retry};
  }
  std::string read(int fd);
  void text(std::string_view bytes);
  void line();
  void skip(const ParsedUserLine& parsed);
  void take(UserEntry entry);
  void choose_dummy();
  std::string skipped() const;

  const std::string& path_;
  const UserAccounts* before_;
  std::shared_ptr<UserAccounts> out_ = std::make_shared<UserAccounts>();
  std::string line_;  // the one under way; of an over-long one its beginning
  std::uint32_t number_ = 0;
  std::size_t octets_ = 0;
  bool unfinished_ = false;  // the last line has no LF
  bool says_empty_ = false;  // "# no accounts"
  std::size_t problems_ = 0;
  std::string named_;  // the first of them
  std::map<std::string, std::pair<std::size_t, std::string>, std::less<>>
      kinds_;  // how many, and one of them
};

void UserAccounts::Loader::text(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    // One octet more than a line may have shows that it is too long.
    const std::size_t room = user_line_octets_max + 1 - std::min(line_.size(), user_line_octets_max + 1);
    line_.append(bytes.substr(0, std::min(end, room)));
    unfinished_ = end == bytes.size();
    if (unfinished_) return;
    line();
    bytes.remove_prefix(end + 1);
  }
}

void UserAccounts::Loader::line() {
  ++number_;
  ParsedUserLine parsed = parse_user_line(line_);
  if (line_.starts_with(user_file_no_accounts)) says_empty_ = true;
  line_.clear();
  if (parsed.problems.empty() && parsed.entry.login.empty()) return;
  if (parsed.problems.empty() && out_->by_login_.contains(parsed.entry.login)) {
    parsed.problems.push_back({0, 1, "the login is in a line before already"});
  }
  if (!parsed.problems.empty()) return skip(parsed);
  parsed.entry.line = number_;
  take(std::move(parsed.entry));
}

void UserAccounts::Loader::skip(const ParsedUserLine& parsed) {
  if (problems_++ < problems_named) {
    UserFileProblem problem = parsed.problems.front();
    problem.line = number_;
    named_ += (named_.empty() ? "" : "; ") + to_string(problem, path_);
  }
  const std::string& login = parsed.entry.login;
  if (login.empty() || out_->by_login_.contains(login)) return;
  if (auto old = before_ != nullptr ? before_->find(login) : nullptr) {
    out_->by_login_.insert(std::move(old));
  } else if (out_->broken_.size() < user_file_problems_max) {
    out_->broken_[login] = number_;
  }
}

void UserAccounts::Loader::take(UserEntry entry) {
  if (!entry.locked()) {
    auto& [count, sample] = kinds_[std::string(hash_kind(entry.hash))];
    if (count++ == 0) sample = entry.hash;
  }
  auto old = before_ != nullptr ? before_->find(entry.login) : nullptr;
  if (old && same(old->entry, entry)) {
    out_->by_login_.insert(std::move(old));
    return;
  }
  auto account = std::make_shared<Account>();
  account->version = version_of(entry);
  account->entry = std::move(entry);
  out_->by_login_.insert(std::move(account));
}

// Whatever may lie there: a directory, a pipe that nobody writes to, a file on a disk that fails. (A stream
// of the standard library would throw, on a thread where nobody catches.)
std::string UserAccounts::Loader::read(int fd) {
  std::array<char, 65536> block;
  for (;;) {
    const ssize_t n = ::read(fd, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::generic_category().message(errno);
    if (n == 0) break;
    octets_ += static_cast<std::size_t>(n);
    if (octets_ > user_file_octets_max) return "the file is too large";
    text({block.data(), static_cast<std::size_t>(n)});
  }
  if (unfinished_) line();
  return {};
}

void UserAccounts::Loader::choose_dummy() {
  std::size_t best = 0;
  for (auto& [kind, counted] : kinds_) {
    if (counted.first <= best) continue;
    best = counted.first;
    out_->dummy_hash_ = counted.second;
  }
  if (best != 0) return;
  static const std::string imitation = hash_password("no account to imitate").value_or(std::string());
  out_->dummy_hash_ = imitation;
}

std::string UserAccounts::Loader::skipped() const {
  if (problems_ == 0) return {};
  std::string text = named_;
  if (problems_ > problems_named) text += "; and " + std::to_string(problems_ - problems_named) + " more";
  return text;
}

UserAccounts::Loaded UserAccounts::Loader::load() {
  const auto errno_text = [] { return std::generic_category().message(errno); };
  const Descriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return unused(errno_text(), true);
  struct stat at_first{};
  struct stat at_last{};
  if (::fstat(file.get(), &at_first) != 0) return unused(errno_text(), true);
  if (!S_ISREG(at_first.st_mode)) return unused("not a file", true);
  if (const std::string failed = read(file.get()); !failed.empty()) return unused(failed, true);
  if (::fstat(file.get(), &at_last) != 0) return unused(errno_text(), true);
  if (at_first.st_size != at_last.st_size || at_first.st_mtim.tv_sec != at_last.st_mtim.tv_sec ||
      at_first.st_mtim.tv_nsec != at_last.st_mtim.tv_nsec) {
    return unused("it was written to while it was read", true);
  }

  const std::size_t had = before_ != nullptr ? before_->size() : 0;
  if (out_->by_login_.empty() && problems_ != 0) return {nullptr, "no line can be used: " + skipped()};
  if (out_->by_login_.empty() && !says_empty_) {
    return unused("no accounts; if that is meant, write the line \"" + std::string(user_file_no_accounts) +
                  "\"");
  }
  if (unfinished_ && out_->by_login_.size() < had) {
    return unused("it ends inside a line, with " + std::to_string(out_->by_login_.size()) + " accounts of " +
                  std::to_string(had));
  }
  choose_dummy();
  return {std::move(out_), skipped()};
}

UserAccounts::Loaded UserAccounts::load(const std::string& path, const UserAccounts* before) {
  return Loader(path, before).load();
}

std::shared_ptr<const UserAccounts::Account> UserAccounts::find(std::string_view login) const {
  const auto found = by_login_.find(login);
  return found == by_login_.end() ? nullptr : *found;
}

std::uint32_t UserAccounts::broken_line_of(const std::string& login) const {
  const auto found = broken_.find(login);
  return found == broken_.end() ? 0 : found->second;
}

}  // namespace portcullis::auth
