// Canonical forms of names from strangers: whatever comes in, a form that comes out is its own
// canonical form, bounded, and free of what could deceive.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "policy/identity.h"
#include "policy/ip.h"

using namespace portcullis;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto login = policy::canonical_login(text)) {
    require(!login->empty() && login->size() <= smtp::limits::login_octets);
    require(login->find('\0') == std::string::npos && login->find('\n') == std::string::npos);
    require(policy::canonical_login(*login) == login);
  }
  if (const auto domain = policy::canonical_domain(text)) {
    require(!domain->empty() && domain->size() <= smtp::limits::domain_octets);
    for (const char c : *domain) require(c > 0x20 && c < 0x7f && !(c >= 'A' && c <= 'Z'));
    require(policy::canonical_domain(*domain) == domain);
  }
  const auto at = text.rfind('@');
  if (at != text.npos) {
    const smtp::Mailbox mailbox{std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
    if (const auto address = policy::canonical_address(mailbox, '\0')) {
      const auto split = address->rfind('@');
      require(policy::address_matches(*address, *address));
      require(policy::canonical_address({address->substr(0, split), address->substr(split + 1)}, '\0') ==
              address);
    }
  }
  if (const auto pattern = policy::canonical_pattern(text))
    require(policy::canonical_pattern(*pattern) == pattern);
  if (const auto ip = policy::parse_ip(text)) require(policy::parse_ip(policy::to_string(*ip)) == ip);
  if (const auto network = policy::parse_network(text)) {
    require(network->contains(network->base));
    require(policy::parse_network(policy::to_string(*network)) == network);
  }
  return 0;
}
