#include "proxy/auth/user_file_edit.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "policy/identity.h"
#include "proxy/auth/owned_names.h"
#include "proxy/auth/password_hash.h"

namespace portcullis::auth {

namespace {

using Kind = EditError::Kind;

std::unexpected<EditError> fail(Kind kind, std::string text) {
  return std::unexpected(EditError{kind, std::move(text)});
}
std::unexpected<EditError> fail_errno(const std::string& what) {
  return fail(Kind::io, what + ": " + std::generic_category().message(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// A symbolic link stays one: what it points to is replaced.
std::string resolved(const std::string& path) {
  std::array<char, PATH_MAX> real{};
  return ::realpath(path.c_str(), real.data()) != nullptr ? std::string(real.data()) : path;
}

std::expected<std::string, EditError> read_all(int fd, const std::string& path) {
  std::string text;
  std::array<char, 65536> block;
  for (;;) {
    const ssize_t n = ::read(fd, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(path);
    if (n == 0) return text;
    text.append(block.data(), static_cast<std::size_t>(n));
    if (text.size() > user_file_octets_max) return fail(Kind::broken_file, path + ": the file is too large");
  }
}

// Opens and locks the file that `path` names now: between open and lock another editor may have put a
// new one in its place.
std::expected<Descriptor, EditError> open_locked(const std::string& path, bool create) {
  for (;;) {
    Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0640));
    if (!file) return fail_errno(path);
    while (::flock(file.get(), LOCK_EX) != 0) {
      if (errno != EINTR) return fail_errno(path);
    }
    struct stat ours{};
    struct stat current{};
    if (::fstat(file.get(), &ours) != 0) return fail_errno(path);
    if (::stat(path.c_str(), &current) == 0 && ours.st_ino == current.st_ino &&
        ours.st_dev == current.st_dev) {
      return file;
    }
  }
}

std::expected<void, EditError> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

// The new file with the old one's mode, owner and group. An empty old file is one that we just created.
std::expected<void, EditError> dress(int fd, const struct stat& old, const std::string& path) {
  mode_t mode = old.st_mode & 07777;
  gid_t group = old.st_gid;
  if (old.st_size == 0) {
    struct stat directory{};
    if (::stat(directory_of(path).c_str(), &directory) != 0) return fail_errno(directory_of(path));
    if (::geteuid() == 0) group = directory.st_gid;
    mode &= 0640;
  }
  struct stat fresh{};
  if (::fstat(fd, &fresh) != 0) return fail_errno(path);
  if ((fresh.st_uid != old.st_uid || fresh.st_gid != group) && ::fchown(fd, old.st_uid, group) != 0) {
    return fail_errno(path + ": owner and group can not be kept");
  }
  if (::fchmod(fd, mode) != 0) return fail_errno(path);
  return {};
}

std::expected<void, EditError> replace(const std::string& path, int old_fd, std::string_view text) {
  struct stat old{};
  if (::fstat(old_fd, &old) != 0) return fail_errno(path);
  std::string temporary = path + ".XXXXXX";
  const Descriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file) return fail_errno(temporary);
  auto done = dress(file.get(), old, path);
  if (done) done = write_all(file.get(), text, temporary);
  if (done && ::fsync(file.get()) != 0) done = fail_errno(temporary);
  if (done && ::rename(temporary.c_str(), path.c_str()) != 0) done = fail_errno(path);
  if (!done) {
    ::unlink(temporary.c_str());
    return done;
  }
  const Descriptor directory(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) return fail_errno(directory_of(path));
  return {};
}

std::expected<std::vector<UserEntry>, EditError> parse(const std::string& text, const std::string& path) {
  ParsedUserFile parsed = parse_user_file(text);
  if (!parsed.problems.empty()) return fail(Kind::broken_file, to_string(parsed.problems.front(), path));
  return std::move(parsed.entries);
}

std::expected<std::string, EditError> read_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(path);
  return read_all(file.get(), path);
}

std::string render(const UserEntry& entry) {
  const auto join = [](const std::vector<std::string>& values) {
    std::string text;
    for (const std::string& value : values) text += (text.empty() ? "" : ",") + value;
    return text;
  };
  std::string line = entry.login + ':' + entry.hash;
  if (!entry.addresses.empty() || !entry.groups.empty()) line += ':' + join(entry.addresses);
  if (!entry.groups.empty()) line += ':' + join(entry.groups);
  return line;
}

// The text with line `number` (from 1) replaced, or removed.
std::string with_line(std::string_view text, std::uint32_t number, const std::optional<std::string>& line) {
  std::size_t begin = 0;
  for (std::uint32_t i = 1; i < number; ++i) begin = text.find('\n', begin) + 1;
  const std::size_t end = std::min(text.find('\n', begin), text.size());
  std::string out(text.substr(0, begin));
  if (line) out += *line + '\n';
  if (end < text.size()) out += text.substr(end + 1);
  return out;
}

// A file without accounts must say that it is meant so, and one with accounts must not.
std::string with_empty_mark(std::string text, bool wanted) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (text.compare(at, user_file_no_accounts.size(), user_file_no_accounts) == 0) {
      text.erase(at, end + 1 - at);
    } else {
      at = end + 1;
    }
  }
  if (!wanted) return text;
  if (!text.empty() && !text.ends_with('\n')) text += '\n';
  return text.append(user_file_no_accounts) + '\n';
}

std::expected<void, EditError> apply(const UserChange& change, UserEntry& entry) {
  if (change.password) {
    auto hash = hash_password(*change.password);
    if (!hash) return fail(Kind::invalid, hash.error());
    entry.hash = std::move(*hash);
  }
  if (change.addresses) {
    entry.addresses.clear();
    for (const std::string& text : *change.addresses) {
      const auto granted = granted_addresses(text);
      auto address = granted ? std::optional(granted->text()) : std::nullopt;
      // What the file's own syntax can not carry.
      if (!address || address->find_first_of(",: ") != std::string::npos) {
        return fail(Kind::invalid, "not a valid address: " + text);
      }
      append_unique(entry.addresses, std::move(*address));
    }
  }
  if (change.groups) {
    entry.groups.clear();
    for (const std::string& text : *change.groups) {
      auto group = group_name(text);
      if (!group || group->find_first_of(",:") != std::string::npos) {
        return fail(Kind::invalid, "not a valid group name: " + text);
      }
      append_unique(entry.groups, std::move(*group));
    }
  }
  return {};
}

// The entry's line, if it can be read again.
std::expected<std::string, EditError> rendered(const UserEntry& entry) {
  std::string line = render(entry);
  const ParsedUserFile parsed = parse_user_file(line);
  if (!parsed.problems.empty()) return fail(Kind::invalid, parsed.problems.front().text);
  return line;
}

std::expected<std::string, EditError> canonical(std::string_view login) {
  auto name = policy::canonical_login(login);
  if (!name || name->find(':') != std::string::npos || name->starts_with('#')) {
    return fail(Kind::invalid, "not a valid login: " + std::string(login));
  }
  return std::move(*name);
}

// Reads under the lock, lets `edit` make the new text, replaces.
template <typename Edit>
std::expected<void, EditError> edit_file(const std::string& given_path, bool create, Edit edit) {
  const std::string path = resolved(given_path);
  const auto file = open_locked(path, create);
  if (!file) return std::unexpected(file.error());
  const auto text = read_all(file->get(), path);
  if (!text) return std::unexpected(text.error());
  auto entries = parse(*text, path);
  if (!entries) return std::unexpected(entries.error());
  const std::expected<std::string, EditError> fresh = edit(*text, *entries);
  if (!fresh) return std::unexpected(fresh.error());
  return replace(path, file->get(), *fresh);
}

std::vector<UserEntry>::iterator find(std::vector<UserEntry>& entries, const std::string& login) {
  return std::ranges::find(entries, login, &UserEntry::login);
}

}  // namespace

std::expected<void, EditError> add_user(const std::string& path, std::string_view login,
                                        const UserChange& user) {
  const auto name = canonical(login);
  if (!name) return std::unexpected(name.error());
  if (!user.password) return fail(Kind::invalid, "a password is needed");
  UserEntry entry;
  entry.login = *name;
  if (auto applied = apply(user, entry); !applied) return applied;
  const auto line = rendered(entry);
  if (!line) return std::unexpected(line.error());
  return edit_file(path, true, [&](std::string text, auto& entries) -> std::expected<std::string, EditError> {
    if (find(entries, *name) != entries.end()) return fail(Kind::exists, *name + " exists already");
    if (!text.empty() && !text.ends_with('\n')) text += '\n';
    return with_empty_mark(std::move(text), false) + *line + '\n';
  });
}

std::expected<void, EditError> set_user(const std::string& path, std::string_view login,
                                        const UserChange& change) {
  const auto name = canonical(login);
  if (!name) return std::unexpected(name.error());
  return edit_file(path, false,
                   [&](const std::string& text, auto& entries) -> std::expected<std::string, EditError> {
                     const auto entry = find(entries, *name);
                     if (entry == entries.end()) return fail(Kind::no_such_user, "no such login: " + *name);
                     if (auto applied = apply(change, *entry); !applied)
                       return std::unexpected(applied.error());
                     const auto line = rendered(*entry);
                     if (!line) return std::unexpected(line.error());
                     return with_line(text, entry->line, *line);
                   });
}

std::expected<void, EditError> remove_user(const std::string& path, std::string_view login) {
  const auto name = canonical(login);
  if (!name) return std::unexpected(name.error());
  return edit_file(path, false,
                   [&](const std::string& text, auto& entries) -> std::expected<std::string, EditError> {
                     const auto entry = find(entries, *name);
                     if (entry == entries.end()) return fail(Kind::no_such_user, "no such login: " + *name);
                     std::string rest = with_line(text, entry->line, std::nullopt);
                     return entries.size() == 1 ? with_empty_mark(std::move(rest), true) : rest;
                   });
}

std::expected<std::vector<UserEntry>, EditError> list_users(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return std::unexpected(text.error());
  return parse(*text, path);
}

std::expected<bool, EditError> check_user(const std::string& path, std::string_view login,
                                          std::string_view password) {
  auto entries = list_users(path);
  if (!entries) return std::unexpected(entries.error());
  const auto name = policy::canonical_login(login);
  if (!name) return false;
  const auto entry = find(*entries, *name);
  return entry != entries->end() && verify_password(entry->hash, password);
}

}  // namespace portcullis::auth
