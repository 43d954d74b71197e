// Which rules apply to a client, without asking a thousand that do not: each rule is filed under its
// most selective condition (login, group, login domain, network, listener) and only what is filed
// under the client's own is looked at.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "policy/facts.h"
#include "policy/networks.h"
#include "policy/text_map.h"

namespace portcullis::policy {

// All must hold; an empty list always does.
struct Conditions {
  std::vector<std::string> listeners;
  std::vector<std::string> networks;  // names
  std::vector<std::string> logins;    // exact, or patterns with '@'
  std::vector<std::string> groups;
};

// Numbers of rules. Short lists, as they nearly all are, need no heap.
class RuleList {
 public:
  void add(std::span<const std::uint16_t> rules) {
    if (many_.empty() && size_ + rules.size() <= few_.size()) {
      std::ranges::copy(rules, few_.begin() + static_cast<std::ptrdiff_t>(size_));
    } else {
      if (many_.empty()) many_.assign(few_.begin(), few_.begin() + static_cast<std::ptrdiff_t>(size_));
      many_.insert(many_.end(), rules.begin(), rules.end());
    }
    size_ += rules.size();
  }
  void add(std::uint16_t rule) { add({&rule, 1}); }
  void clear() {
    many_.clear();
    size_ = 0;
  }
  std::span<std::uint16_t> view() { return {many_.empty() ? few_.data() : many_.data(), size_}; }
  std::span<const std::uint16_t> view() const { return {many_.empty() ? few_.data() : many_.data(), size_}; }

 private:
  std::array<std::uint16_t, 64> few_;
  std::vector<std::uint16_t> many_;  // all of them, once there are more
  std::size_t size_ = 0;
};

class RuleIndex {
 public:
  // `networks` (named ranges) and `ranges` outlive the index.
  RuleIndex(const std::vector<Network>& networks, const NetworkIndex& ranges)
      : networks_(networks), ranges_(ranges) {}

  // Rules are known by the caller's number, added in the order in which they are to be asked.
  void add(std::uint16_t rule, Conditions conditions);
  bool empty() const { return rules_.empty(); }

  // The rules that apply, in order: of the index, or put into `memory`, when they depend on the client.
  std::span<const std::uint16_t> find(const ClientFacts& client, RuleList& memory) const;

 private:
  struct Rule {
    std::uint16_t number = 0;
    Conditions conditions;
    std::vector<std::uint16_t> networks = {};  // Conditions::networks as indices
    std::vector<AddressPattern> logins = {};   // Conditions::logins that are patterns
  };
  using Filed = std::vector<std::uint16_t>;  // positions in rules_

  bool applies(const Rule& rule, const ClientFacts& client) const;
  void file(std::uint16_t position);
  void collect(const ClientFacts& client, RuleList& out) const;

  const std::vector<Network>& networks_;
  const NetworkIndex& ranges_;
  std::vector<Rule> rules_;
  TextMap<Filed> by_login_, by_group_, by_login_domain_, by_listener_;
  std::unordered_map<std::uint16_t, Filed> by_network_;
  Filed any_;                                // conditions no map is for
  Filed always_;                             // none at all, and
  std::vector<std::uint16_t> always_rules_;  // the numbers of those
};

}  // namespace portcullis::policy
