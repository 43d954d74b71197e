#include "proxy/auth/user_file_backend.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "proxy/auth/password_hash.h"
#include "smtp/extensions.h"

namespace portcullis::auth {

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
  const auto account = accounts->find(query.login);
  const std::string hash = account ? account->entry.usable_hash() : std::string();
  const bool right = verify_password(hash.empty() ? accounts->dummy_hash() : hash, query.secret.view());
  if (!account) {
    // Wrong passwords would make a mail program forget the right one, and lock its owner out.
    if (const std::uint32_t line = accounts->broken_line_of(query.login); line != 0) {
      return {Result::backend_error, {}, "line " + std::to_string(line) + " is broken", true};
    }
    return {Result::bad_credentials, {}, "no such login"};
  }
  const UserEntry& entry = account->entry;
  // To somebody who does not know its password a locked account looks as any other. Where there is no
  // password to know, its owner must still hear why.
  if (entry.locked() && hash.empty()) return {Result::disabled, {}, "the account is locked"};
  if (hash.empty() || !right) return {Result::bad_credentials, {}, "wrong password"};
  if (entry.locked()) return {Result::disabled, {}, "the account is locked"};
  policy::Account owner = account_of(entry);
  owner.version = account->version;
  return {Result::success, std::move(owner), {}};
}

std::expected<std::string, std::string> UserFileAsker::probe(Deadline /*deadline*/) {
  if (auto problem = backend_.problem(); !problem.empty()) return std::unexpected(std::move(problem));
  return std::to_string(backend_.accounts()->size()) + " accounts";
}

}  // namespace

UserFileBackend::UserFileBackend(std::string path, std::function<void(const std::string&)> trouble)
    : path_(std::move(path)), trouble_(std::move(trouble)), stamp_(std::make_unique<Stamp>()) {
  look();
}

UserFileBackend::~UserFileBackend() = default;

std::uint8_t UserFileBackend::mechanisms() const { return smtp::mech_plain | smtp::mech_login; }

std::unique_ptr<Asker> UserFileBackend::asker() { return std::make_unique<UserFileAsker>(*this); }

bool UserFileBackend::has(const std::string& login) const {
  const auto accounts = this->accounts();
  return accounts && accounts->find(login);
}

std::uint64_t UserFileBackend::version_of(const std::string& login) const {
  const auto accounts = this->accounts();
  const auto account = accounts ? accounts->find(login) : nullptr;
  return account ? account->version : 0;
}

AccountState UserFileBackend::look_again(policy::Account& account) const {
  const auto accounts = this->accounts();
  if (!accounts) return AccountState::not_known;
  const auto now = accounts->find(account.login);
  if (!now) {
    return accounts->broken_line_of(account.login) != 0 ? AccountState::not_known : AccountState::gone;
  }
  if (now->version == account.version) return AccountState::unchanged;
  if (now->version >> 32U != account.version >> 32U) return AccountState::gone;
  // Patterns too: a grant that was taken away must not stay.
  policy::Account fresh = account_of(now->entry);
  account.addresses = std::move(fresh.addresses);
  account.patterns = std::move(fresh.patterns);
  account.groups = std::move(fresh.groups);
  account.version = now->version;
  return AccountState::changed;
}

std::shared_ptr<const UserAccounts> UserFileBackend::accounts() const {
  const std::scoped_lock guard(lock_);
  return accounts_;
}

std::string UserFileBackend::problem() const {
  const std::scoped_lock guard(lock_);
  return problem_;
}

void UserFileBackend::look() {
  const std::unique_lock looking(looking_, std::try_to_lock);
  if (!looking) return;
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

  const auto before = accounts();
  UserAccounts::Loaded loaded = UserAccounts::load(path_, before.get());
  if (loaded.retry) *stamp_ = Stamp();
  const bool used = loaded.accounts != nullptr;
  bool told = loaded.problem.empty();
  {
    const std::scoped_lock guard(lock_);
    told = told || (loaded.retry && loaded.problem == problem_);
    if (used) accounts_ = std::move(loaded.accounts);
    problem_ = loaded.problem;
  }
  if (used) generation_.fetch_add(1, std::memory_order_acq_rel);
  if (!told && trouble_) {
    trouble_(loaded.problem + (used                ? " (the other lines are used)"
                               : before != nullptr ? " (the old accounts stay)"
                                                   : " (logins are answered 454)"));
  }
}

}  // namespace portcullis::auth
