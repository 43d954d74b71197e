// Changing the user file from the command line, safely beside a running gateway and other editors: the
// file is locked, written anew beside the old one, synced and renamed over it. Mode, owner and group are
// kept; a new file gets mode 0640 and the group of its directory (so that the gateway's group can read
// it). Comments and all other lines stay as they are. A file with errors is not touched.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/auth/user_file.h"

namespace portcullis::auth {

struct EditError {
  enum class Kind : std::uint8_t {
    invalid,  // what the caller gave is not acceptable
    exists,   // add: the login is there already
    no_such_user,
    broken_file,  // the file has errors; text names the first
    io,
  };
  Kind kind = Kind::io;
  std::string text;  // one sentence
};

// Texts as the admin typed them; canonical forms are made inside.
// NOLINTBEGIN(readability-redundant-member-init): GCC warns of what designated initializers leave out
struct UserChange {
  std::optional<std::string_view> password = {};
  std::optional<std::vector<std::string>> addresses = {};
  std::optional<std::vector<std::string>> groups = {};
};
// NOLINTEND(readability-redundant-member-init)

// Creates the file if there is none. The password is needed.
std::expected<void, EditError> add_user(const std::string& path, std::string_view login,
                                        const UserChange& user);
// What is absent in `change` stays.
std::expected<void, EditError> set_user(const std::string& path, std::string_view login,
                                        const UserChange& change);
std::expected<void, EditError> remove_user(const std::string& path, std::string_view login);
std::expected<std::vector<UserEntry>, EditError> list_users(const std::string& path);
// Whether the password is right; false for an unknown login.
std::expected<bool, EditError> check_user(const std::string& path, std::string_view login,
                                          std::string_view password);

}  // namespace portcullis::auth
