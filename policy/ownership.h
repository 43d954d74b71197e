// Which addresses an account may send as (law 7): its login, what its backend says it owns, what a
// grant adds.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "policy/identity.h"
#include "policy/settings.h"
#include "policy/text_map.h"

namespace portcullis::policy {

class Ownership {
 public:
  Ownership(const std::vector<Grant>& grants, char subaddress);

  // An address without a canonical form is nobody's. "alice+lists@" is alice's too.
  bool owns(const Account& account, const smtp::Mailbox& mailbox) const;

 private:
  bool owns_canonical(const Account& account, std::string_view address) const;

  char subaddress_;
  TextMap<std::vector<AddressPattern>> by_login_, by_group_;
  std::vector<std::pair<AddressPattern, AddressPattern>> by_login_pattern_;  // of logins, of addresses
};

}  // namespace portcullis::policy
