// What decides about mail and may change while a session is open: one configuration's rules, and the accounts
// of those who logged in (law 9). The session asks at each transaction; what it holds stays alive.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "policy/chain.h"
#include "policy/identity.h"
#include "proxy/config/config.h"

namespace portcullis::session {

// Labels of a rule in the metrics, by policy::Hit::rule.
struct RuleLabels {
  std::uint16_t rule = 0;
  bool is_rate = false;
  std::uint16_t limit = 0;  // of a rate rule
  policy::RateUnit unit = policy::RateUnit::messages;
};

// What became of accounts that logged in. Asks nobody and does not block; any thread.
class Accounts {
 public:
  enum class State : std::uint8_t {
    unchanged,
    changed,  // other addresses or groups: the account was brought up to date
    gone,     // removed, locked, or its password was changed
  };

  virtual ~Accounts() = default;
  // Another number: look_again() may say something new.
  virtual std::uint64_t generation() const = 0;
  virtual State look_again(policy::Account& account) const = 0;
  // How long a login counts whose backend can only be asked with its password. 0: for the whole session.
  virtual std::uint32_t login_seconds(const policy::Account& account) const = 0;
};

struct Policies {
  const config::Config& config;
  const policy::Chain& chain;
  const std::vector<RuleLabels>& rule_labels;
  const Accounts* accounts = nullptr;  // null: accounts never change
};

}  // namespace portcullis::session
