#include "policy/spelling.h"

#include <array>

#include "policy/identity.h"
#include "smtp/ascii.h"

namespace portcullis::policy {

void spell_as_judged(smtp::Path& path) {
  std::string& domain = path.mailbox.domain;
  if (domain.starts_with('[')) return;
  // Nearly all are plain ASCII, without a label that begins with "xn--": canonical but for their case.
  if (!smtp::has_eight_bit(domain) && domain.find("--") == domain.npos) return;
  std::array<char, smtp::limits::domain_octets> buffer;
  const std::size_t size = write_canonical_domain(domain, buffer);
  const std::string_view canonical(buffer.data(), size);
  if (size == 0 || smtp::equals_ignoring_case(domain, canonical)) return;
  domain = canonical;
  path.utf8 = path.utf8 && smtp::has_eight_bit(path.mailbox.local);
}

}  // namespace portcullis::policy
