// Whether the configuration as a whole makes an open relay: judged over the union of all networks that are
// trusted with the same thing, and against the domains below which strangers live.
#include <algorithm>
#include <functional>

#include "policy/address_space.h"
#include "proxy/config/check.h"
#include "proxy/config/public_suffix.h"

namespace portcullis::config {

namespace {

using policy::IpNetwork;
using policy::Network;
using policy::PublicSpace;

// More public addresses than one site operates are strangers: a /12 is sixteen networks of /16, and 28 bits
// are what a provider gets for all its customers. From a /20 (a /44) on, the admin is told how many they are.
constexpr double v4_addresses_max = 1 << 20;
constexpr double v6_links_max = static_cast<double>(1ULL << 36);
constexpr double v4_addresses_remarkable = 1 << 12;
constexpr double v6_links_remarkable = 1 << 20;

bool is_too_much(const PublicSpace& space) {
  return space.v4_addresses > v4_addresses_max || space.v6_links > v6_links_max;
}

bool is_remarkable(const PublicSpace& space) {
  return space.v4_addresses > v4_addresses_remarkable || space.v6_links > v6_links_remarkable;
}

// What networks are trusted with, and which keys grant it.
struct Trust {
  std::function<bool(const Network&)> is_granted;
  const char* key;  // that a problem is reported at
  const char* what_they_may;
  const char* consequence;
};

Trust one_key(const char* key, bool Network::* permission, const char* what_they_may,
              const char* consequence) {
  return {[permission](const Network& network) { return network.*permission; }, key, what_they_may,
          consequence};
}

std::vector<Trust> trusts() {
  return {
      one_key("may_relay", &Network::may_relay, "send to any domain without a login",
              "would be an open relay"),
      one_key("may_send_xclient", &Network::may_send_xclient,
              "name any client and any login with XCLIENT, and so send to any domain",
              "would let strangers choose their address and login"),
      one_key("may_send_proxy_header", &Network::may_send_proxy_header, "name any client in a PROXY header",
              "would let strangers choose their address"),
      one_key("may_auth_without_tls", &Network::may_auth_without_tls, "log in without TLS",
              "would let strangers' passwords cross in clear"),
      one_key("may_send_xforward", &Network::may_send_xforward, "name the origin of a message with XFORWARD",
              "would let strangers write into the logs where mail is from"),
  };
}

PublicSpace space_of(const std::vector<IpNetwork>& addresses) { return policy::public_space(addresses); }

// The network that has the most of it.
std::size_t largest(const std::vector<Network>& networks, const Trust& trust) {
  std::size_t found = 0;
  PublicSpace most{-1, -1};
  for (std::size_t i = 0; i < networks.size(); ++i) {
    if (!trust.is_granted(networks[i])) continue;
    const PublicSpace space = space_of(networks[i].addresses);
    if (space.v4_addresses + space.v6_links <= most.v4_addresses + most.v6_links) continue;
    most = space;
    found = i;
  }
  return found;
}

// Reports single ranges that are too much; false: there was one.
bool check_ranges(const Check& check, const Trust& trust) {
  constexpr std::size_t told_max = 3;  // of one network
  bool fine = true;
  const auto& networks = check.config.policy.networks;
  for (std::size_t i = 0; i < networks.size(); ++i) {
    if (!trust.is_granted(networks[i])) continue;
    const std::string path = indexed("network", i) + '.' + trust.key;
    std::size_t count = 0;
    for (const IpNetwork& range : networks[i].addresses) {
      if (!is_too_much(space_of({range})) || ++count > told_max) continue;
      check.error(path, policy::to_string(range) + " is too much of the Internet: this " + trust.consequence);
    }
    if (count > told_max) {
      check.error(path, "and " + std::to_string(count - told_max) + " more such networks, " +
                            policy::in_words(space_of(networks[i].addresses)) + " in all");
    }
    fine = fine && count == 0;
  }
  return fine;
}

void check_union(const Check& check, const Trust& trust) {
  const auto& networks = check.config.policy.networks;
  std::vector<IpNetwork> all;
  std::size_t count = 0;
  for (const Network& network : networks) {
    if (!trust.is_granted(network)) continue;
    all.insert(all.end(), network.addresses.begin(), network.addresses.end());
    ++count;
  }
  const PublicSpace space = space_of(all);
  if (!is_remarkable(space)) return;
  const std::string path = indexed("network", largest(networks, trust)) + '.' + trust.key;
  const std::string who =
      policy::in_words(space) + (count > 1 ? " of " + std::to_string(count) + " networks" : "");
  if (is_too_much(space)) {
    check.error(path, who + " are too much of the Internet: this " + trust.consequence);
  } else {
    check.warning(path, who + " may " + trust.what_they_may);
  }
}

// Whoever may say that they are somebody else may say that they are one who may relay.
bool lets_relay(const Config& config, const Network& network) {
  const bool by_header = network.may_send_proxy_header &&
                         std::ranges::any_of(config.listeners, &Listener::proxy_protocol) &&
                         std::ranges::any_of(config.policy.networks, &Network::may_relay);
  return network.may_relay || network.may_send_xclient || by_header;
}

void check_local_senders(const Check& check, const Network& network, const std::string& path) {
  if (!network.may_use_local_senders) return;
  for (const IpNetwork& range : network.addresses) {
    if (!is_too_much(space_of({range}))) continue;
    check.warning(path + ".may_use_local_senders",
                  policy::to_string(range) + " may send as local_domains: spoofing is not checked there");
  }
}

void check_domain(const Check& check, const PublicSuffixes& suffixes, std::size_t index) {
  const std::string& pattern = check.config.policy.local_domains[index];
  const bool below = pattern.starts_with("*.");
  const std::string domain = pattern.substr(below ? 2 : 0);
  const auto section = below ? suffixes.section_of_children(domain) : suffixes.section(domain);
  if (!section) return;
  const std::string path =
      check.given("local_domains[1]") ? indexed("local_domains", index) : "local_domains";
  const std::string what = '"' + pattern + '"';
  const auto& owned = check.config.public_suffixes_owned;
  if (std::ranges::find(owned, domain) != owned.end()) {
    check.warning(path, what +
                            (below ? ": strangers without a login may send to every domain below "
                                   : ": strangers without a login may send to ") +
                            domain + ", because public_suffixes_owned says that you run this public suffix");
  } else if (below) {
    check.error(path,
                what + " is every domain below the public suffix " + domain +
                    ", all of them strangers': this would be an open relay (public_suffixes_owned names a "
                    "suffix that you run yourself)");
  } else if (*section == PublicSuffixes::Section::registry) {
    check.error(path, what +
                          " is a public suffix, below which anybody may register a domain, and no domain of "
                          "yours (public_suffixes_owned names a suffix that you run yourself)");
  } else {
    check.warning(path, what + " is a public suffix: it should be here only if you run it");
  }
}

void check_suffixes(const Check& check) {
  if (check.config.policy.local_domains.empty()) return;
  const PublicSuffixes suffixes;
  if (!suffixes.known()) {
    return check.warning("local_domains",
                         "not compared with the list of public suffixes: there is none here");
  }
  for (std::size_t i = 0; i < check.config.policy.local_domains.size(); ++i) check_domain(check, suffixes, i);
}

}  // namespace

void check_relay(const Check& check) {
  const auto& networks = check.config.policy.networks;
  bool fine = true;
  for (const Trust& trust : trusts()) {
    if (check_ranges(check, trust)) {
      check_union(check, trust);
    } else {
      fine = false;
    }
  }
  const Trust relay{[&check](const Network& network) { return lets_relay(check.config, network); }, "name",
                    "send to any domain without a login", "would be an open relay"};
  const bool mixed = std::ranges::any_of(
      networks, [&](const Network& network) { return relay.is_granted(network) && !network.may_relay; });
  if (fine && mixed && !check.reader.failed()) check_union(check, relay);
  for (std::size_t i = 0; i < networks.size(); ++i)
    check_local_senders(check, networks[i], indexed("network", i));
  check_suffixes(check);
}

}  // namespace portcullis::config
