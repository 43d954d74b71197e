// The addresses that an administrator names with one text: "a@b", "*@b" (or "@b"), "*@*.b".
//
// A type of its own (law 7): an address that users write about themselves (their entry in a directory, a
// login, a header) is a string and is compared as equal, whatever is in it. Only configuration, the user
// file, the grant attribute of a directory and the command line are parsed into patterns; tests/house has the
// list.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace portcullis::policy {

class AddressPattern {
 public:
  // A wildcard is an ASCII '*' that is the whole local part, or the first label of the domain. nullopt: no
  // '@', or a half without a canonical form.
  static std::optional<AddressPattern> parse(std::string_view text);

  bool matches(std::string_view canonical_address) const;
  bool has_wildcard() const { return !local_ || below_; }
  // Canonical: "*@b" for "@b".
  std::string text() const;
  bool operator==(const AddressPattern&) const = default;

 private:
  AddressPattern() = default;
  std::optional<std::string> local_;  // none: any
  std::string domain_;
  bool below_ = false;  // any domain below domain_, not domain_ itself
};

}  // namespace portcullis::policy
