// SipHash-1-3 under a key drawn once per process: keys of the shared tables (addresses, logins) are
// chosen by strangers, who must not be able to aim them all at one bucket. Not for secrets.
#pragma once

#include <cstdint>
#include <string_view>

#include "policy/ip.h"

namespace portcullis::policy {

struct HashKey {
  std::uint64_t k0 = 0;
  std::uint64_t k1 = 0;
};

std::uint64_t siphash13(std::string_view bytes, const HashKey& key);

std::uint64_t keyed_hash(std::string_view bytes);
std::uint64_t keyed_hash(const IpNetwork& network);

}  // namespace portcullis::policy
