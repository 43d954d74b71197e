// Which rules apply to a client, without asking a thousand that do not: each rule is filed under its
// most selective condition (login, group, login domain, network, listener) and only what is filed
// under the client's own is looked at.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
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

class RuleIndex {
 public:
  // `networks` (named ranges) and `ranges` outlive the index.
  RuleIndex(const std::vector<Network>& networks, const NetworkIndex& ranges)
      : networks_(networks), ranges_(ranges) {}

  // Rules are known by the caller's number, added in the order in which they are to be asked.
  void add(std::uint16_t rule, Conditions conditions);
  bool empty() const { return rules_.empty(); }

  // The rules that apply, in order; short lists need no heap.
  class Applying {
   public:
    Applying() : rules(&memory_) { rules.reserve(64); }
    Applying(const Applying&) = delete;
    Applying& operator=(const Applying&) = delete;

   private:
    std::array<std::byte, 512> bytes_;
    std::pmr::monotonic_buffer_resource memory_{bytes_.data(), bytes_.size()};

   public:
    std::pmr::vector<std::uint16_t> rules;
  };
  void find(const ClientFacts& client, Applying& out) const;

 private:
  struct Rule {
    std::uint16_t number = 0;
    Conditions conditions;
    std::vector<std::uint16_t> networks;  // Conditions::networks as indices
  };
  using Filed = std::vector<std::uint16_t>;  // positions in rules_

  bool applies(const Rule& rule, const ClientFacts& client) const;
  void file(std::uint16_t position);
  void collect(const ClientFacts& client, std::pmr::vector<std::uint16_t>& out) const;

  const std::vector<Network>& networks_;
  const NetworkIndex& ranges_;
  std::vector<Rule> rules_;
  TextMap<Filed> by_login_, by_group_, by_login_domain_, by_listener_;
  std::unordered_map<std::uint16_t, Filed> by_network_;
  Filed any_;
};

}  // namespace portcullis::policy
