#include "proxy/auth/user_file_backend.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "proxy/auth/password_hash.h"
#include "proxy/auth/user_file.h"
#include "smtp/extensions.h"

namespace portcullis::auth {

struct UserFileBackend::Accounts {
  std::unordered_map<std::string, UserEntry> by_login;
  std::string dummy_hash;  // of the kind most accounts have
};

struct UserFileBackend::Stamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  timespec modified{};
  int error = -1;
  bool operator==(const Stamp& other) const {
    return device == other.device && inode == other.inode && size == other.size && error == other.error &&
           modified.tv_sec == other.modified.tv_sec && modified.tv_nsec == other.modified.tv_nsec;
  }
};

namespace {

std::string most_common_hash(const std::vector<UserEntry>& entries) {
  std::unordered_map<std::string_view, std::size_t> count;
  const UserEntry* best = nullptr;
  std::size_t best_count = 0;
  for (const UserEntry& entry : entries) {
    const std::size_t n = ++count[hash_kind(entry.hash)];
    if (n > best_count) {
      best = &entry;
      best_count = n;
    }
  }
  if (best != nullptr) return best->hash;
  return hash_password("an empty user file has no account to imitate").value_or(std::string());
}

// Whatever may lie there: a directory, a pipe that nobody writes to, a file on a disk that fails. (A stream
// of the standard library would throw, on a thread where nobody catches.)
std::expected<std::string, std::string> read_text(const std::string& path) {
  const auto fail = [&path](const std::string& why) { return std::unexpected(path + ": " + why); };
  const auto fail_errno = [&fail] { return fail(std::generic_category().message(errno)); };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fail_errno();
  const std::unique_ptr<const int, void (*)(const int*)> closer(&fd, [](const int* each) { ::close(*each); });
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno();
  if (!S_ISREG(status.st_mode)) return fail("not a file");
  std::string text;
  std::array<char, 65536> block;
  for (;;) {
    const ssize_t n = ::read(fd, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno();
    if (n == 0) return text;
    text.append(block.data(), static_cast<std::size_t>(n));
    if (text.size() > user_file_octets_max) return fail("the file is too large");
  }
}

class UserFileAsker : public Asker {
 public:
  explicit UserFileAsker(UserFileBackend& backend) : backend_(backend) {}
  Answer ask(const Query& query, Deadline deadline) override;
  std::expected<std::string, std::string> probe(Deadline deadline) override;

 private:
  UserFileBackend& backend_;
};

Answer UserFileAsker::ask(const Query& query, Deadline /*deadline*/) {
  const auto accounts = backend_.accounts();
  if (!accounts) return {Result::backend_error, {}, backend_.problem()};
  const auto found = accounts->by_login.find(query.login);
  if (found == accounts->by_login.end()) {
    verify_password(accounts->dummy_hash, query.secret.view());
    return {Result::bad_credentials, {}, "no such login"};
  }
  const UserEntry& entry = found->second;
  if (!verify_password(entry.hash, query.secret.view()))
    return {Result::bad_credentials, {}, "wrong password"};
  return {Result::success, {entry.login, entry.addresses, entry.groups, "file"}, {}};
}

std::expected<std::string, std::string> UserFileAsker::probe(Deadline /*deadline*/) {
  if (auto problem = backend_.problem(); !problem.empty()) return std::unexpected(std::move(problem));
  return std::to_string(backend_.accounts()->by_login.size()) + " accounts";
}

}  // namespace

UserFileBackend::UserFileBackend(std::string path, std::function<void(const std::string&)> trouble,
                                 std::chrono::milliseconds look_every, std::shared_ptr<const Accounts> known)
    : path_(std::move(path)),
      trouble_(std::move(trouble)),
      look_every_(look_every),
      stamp_(std::make_unique<Stamp>()),
      accounts_(std::move(known)) {
  look();
  looker_ = std::thread([this] {
    std::unique_lock guard(lock_);
    while (!stop_signal_.wait_for(guard, look_every_, [this] { return stopping_; })) {
      guard.unlock();
      look();
      guard.lock();
    }
  });
}

UserFileBackend::~UserFileBackend() {
  {
    const std::scoped_lock guard(lock_);
    stopping_ = true;
  }
  stop_signal_.notify_all();
  looker_.join();
}

std::uint8_t UserFileBackend::mechanisms() const { return smtp::mech_plain | smtp::mech_login; }

std::unique_ptr<Asker> UserFileBackend::asker() { return std::make_unique<UserFileAsker>(*this); }

bool UserFileBackend::has(const std::string& login) const {
  const auto known = accounts();
  return known && known->by_login.contains(login);
}

std::shared_ptr<const UserFileBackend::Accounts> UserFileBackend::accounts() const {
  const std::scoped_lock guard(lock_);
  return accounts_;
}

std::string UserFileBackend::problem() const {
  const std::scoped_lock guard(lock_);
  return problem_;
}

void UserFileBackend::look() {
  struct stat status{};
  Stamp stamp;
  stamp.error = ::stat(path_.c_str(), &status) == 0 ? 0 : errno;
  if (stamp.error == 0) {
    stamp.device = status.st_dev;
    stamp.inode = status.st_ino;
    stamp.size = status.st_size;
    stamp.modified = status.st_mtim;
  }
  if (stamp == *stamp_) return;
  *stamp_ = stamp;

  std::string problem;
  std::shared_ptr<const Accounts> accounts;
  const auto text = read_text(path_);
  if (!text) {
    problem = text.error();
    // What kept us from it (permissions, descriptors) may go without the file changing: the next time again.
    *stamp_ = Stamp();
  } else {
    ParsedUserFile parsed = parse_user_file(*text);
    if (!parsed.problems.empty()) {
      problem = to_string(parsed.problems.front(), path_);
      if (parsed.problems.size() > 1) problem += " (and more)";
    } else {
      auto fresh = std::make_shared<Accounts>();
      fresh->dummy_hash = most_common_hash(parsed.entries);
      for (UserEntry& entry : parsed.entries) fresh->by_login.emplace(entry.login, std::move(entry));
      accounts = std::move(fresh);
    }
  }
  const bool broken = !problem.empty();
  bool told = false;
  {
    const std::scoped_lock guard(lock_);
    told = !text && problem == problem_;
    if (!broken) accounts_ = std::move(accounts);
    problem_ = problem;
  }
  if (!broken) {
    generation_.fetch_add(1, std::memory_order_acq_rel);
  } else if (trouble_ && !told) {
    trouble_(problem);
  }
}

}  // namespace portcullis::auth
