#include "proxy/config/relay_words.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "policy/address_space.h"

namespace portcullis::config {

namespace {

constexpr std::size_t named_max = 5;  // of a list; the rest is counted

std::string listed(const std::vector<std::string>& names) {
  const std::size_t shown = std::min(names.size(), named_max);
  std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  if (shown < names.size()) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

// Listeners that take mail without a login.
std::string open_listeners(const Config& config) {
  std::vector<std::string> names;
  for (const Listener& listener : config.listeners) {
    if (listener.auth != AuthMode::required) names.push_back(listener.name);
  }
  return listed(names);
}

std::string described(const policy::Network& network) {
  std::vector<std::string> ranges;
  for (const policy::IpNetwork& range : network.addresses) ranges.push_back(policy::to_string(range));
  return fmt::format("network \"{}\" ({}: {})", network.name, listed(ranges),
                     policy::in_words(policy::public_space(network.addresses)));
}

}  // namespace

std::vector<std::string> relay_in_words(const Config& config) {
  std::vector<std::string> lines;
  const std::string listeners = open_listeners(config);
  for (const policy::Network& network : config.policy.networks) {
    if (network.may_relay && !listeners.empty()) {
      lines.push_back(fmt::format("relay: {} may send to any domain without a login, by {}",
                                  described(network), listeners));
    }
    if (network.may_send_xclient) {
      lines.push_back(
          fmt::format("relay: {} may name any client and any login with XCLIENT, and so send to any domain",
                      described(network)));
    }
  }
  if (lines.empty()) return lines;
  if (!listeners.empty() && !config.policy.local_domains.empty()) {
    lines.push_back(fmt::format("relay: everybody else may send without a login only to {}, by {}",
                                listed(config.policy.local_domains), listeners));
  } else {
    lines.emplace_back("relay: nobody else may send without a login");
  }
  return lines;
}

}  // namespace portcullis::config
