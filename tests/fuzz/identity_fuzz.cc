// Canonical forms of names from strangers: whatever comes in, a form that comes out is its own
// canonical form, bounded, and free of what could deceive.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "policy/identity.h"
#include "policy/ip.h"
#include "policy/ownership.h"
#include "smtp/ascii.h"

using namespace portcullis;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

std::size_t marks_in(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return smtp::is_ascii(c) && !smtp::is_alnum(c); }));
}

// Law 7: what users write about themselves (`written`, canonical: `address`) is one address. It makes nobody
// the owner of another one, and has no more marks of ASCII than were written.
void check_ownership(const std::string& address, const smtp::Mailbox& written) {
  require(marks_in(address.substr(0, address.rfind('@'))) <= marks_in(written.local));
  policy::Account account;
  account.login = "somebody";
  account.addresses = {address};
  const policy::Ownership ownership({}, '\0');
  require(ownership.owns(account, written));
  const std::string other = (written.local == "ceo" ? "cfo" : "ceo");
  for (const std::string& domain :
       {written.domain, std::string("example.com"), std::string("a.example.com")}) {
    if (policy::canonical_address({other, domain}, '\0') == address) continue;
    require(!ownership.owns(account, {other, domain}));
  }
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
      check_ownership(*address, mailbox);
      require(policy::canonical_address({address->substr(0, split), address->substr(split + 1)}, '\0') ==
              address);
    }
  }
  if (const auto pattern = policy::AddressPattern::parse(text)) {
    require(policy::AddressPattern::parse(pattern->text()) == pattern);
    // A wildcard is one in ASCII.
    if (pattern->text().starts_with("*@")) require(text.starts_with("*@") || text.starts_with('@'));
  }
  if (const auto ip = policy::parse_ip(text)) require(policy::parse_ip(policy::to_string(*ip)) == ip);
  if (const auto network = policy::parse_network(text)) {
    require(network->contains(network->base));
    require(policy::parse_network(policy::to_string(*network)) == network);
  }
  return 0;
}
