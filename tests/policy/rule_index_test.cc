#include "policy/rule_index.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

namespace portcullis::policy {
namespace {

using Numbers = std::vector<std::uint16_t>;

Numbers copied(std::span<const std::uint16_t> rules) { return {rules.begin(), rules.end()}; }

TEST(RuleList, HoldsFewAndMany) {
  for (const std::size_t size : {0U, 1U, 63U, 64U, 65U, 200U}) {
    Numbers all(size);
    std::iota(all.begin(), all.end(), std::uint16_t{1});
    RuleList one_by_one, at_once, in_pieces;
    for (const std::uint16_t rule : all) one_by_one.add(rule);
    at_once.add(all);
    for (std::size_t at = 0; at < size; at += 7) {
      in_pieces.add(std::span<const std::uint16_t>(all).subspan(at, std::min<std::size_t>(7, size - at)));
    }
    EXPECT_EQ(copied(one_by_one.view()), all);
    EXPECT_EQ(copied(at_once.view()), all);
    EXPECT_EQ(copied(in_pieces.view()), all);
    at_once.clear();
    at_once.add(5);
    EXPECT_EQ(copied(at_once.view()), Numbers{5});
  }
}

// Rules with conditions and without, in the order in which they were added.
TEST(RuleIndex, FindsWhatAppliesInOrder) {
  const std::vector<Network> networks = {{.name = "office", .addresses = {*parse_network("192.0.2.0/24")}}};
  const NetworkIndex ranges(networks);
  RuleIndex index(networks, ranges);
  index.add(10, {});
  index.add(11, {.listeners = {"mx"}, .networks = {}, .logins = {}, .groups = {}});
  index.add(12, {});
  index.add(13, {.listeners = {}, .networks = {"office"}, .logins = {}, .groups = {}});
  index.add(14, {.listeners = {}, .networks = {}, .logins = {}, .groups = {"staff", "board"}});
  index.add(15, {.listeners = {}, .networks = {}, .logins = {"*@*.example.com"}, .groups = {}});
  index.add(16, {.listeners = {"mx"}, .networks = {}, .logins = {"alice@a.example.com"}, .groups = {}});
  index.add(17, {});
  const Account alice{"alice@a.example.com", {}, {"staff", "board"}, "file"};
  const struct {
    std::string_view listener, address;
    const Account* account;
    Numbers rules;
  } cases[] = {
      {"submission", "203.0.113.9", nullptr, {10, 12, 17}},
      {"mx", "203.0.113.9", nullptr, {10, 11, 12, 17}},
      {"mx", "192.0.2.9", nullptr, {10, 11, 12, 13, 17}},
      {"submission", "203.0.113.9", &alice, {10, 12, 14, 15, 17}},
      {"mx", "192.0.2.9", &alice, {10, 11, 12, 13, 14, 15, 16, 17}},
  };
  RuleList memory;  // used again: what was found before is gone
  for (const auto& c : cases) {
    ClientFacts client;
    client.listener = c.listener;
    client.address = *parse_ip(c.address);
    client.account = c.account;
    EXPECT_EQ(copied(index.find(client, memory)), c.rules) << c.listener << ' ' << c.address;
  }
}

TEST(RuleIndex, RulesWithoutConditionsAloneAreAlwaysFound) {
  const std::vector<Network> networks;
  const NetworkIndex ranges(networks);
  RuleIndex index(networks, ranges);
  RuleList memory;
  EXPECT_TRUE(index.find({}, memory).empty());
  for (std::uint16_t i = 0; i < 100; ++i) index.add(i, {});
  EXPECT_EQ(index.find({}, memory).size(), 100U);
  index.add(100, {.listeners = {"mx"}, .networks = {}, .logins = {}, .groups = {}});
  ClientFacts client;
  client.listener = "mx";
  EXPECT_EQ(index.find(client, memory).size(), 101U);
  EXPECT_EQ(index.find(client, memory).back(), 100U);
}

}  // namespace
}  // namespace portcullis::policy
