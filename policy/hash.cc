#include "policy/hash.h"

#include <array>
#include <bit>
#include <cstring>
#include <random>

namespace portcullis::policy {
namespace {

struct State {
  std::uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }

  void absorb(std::uint64_t word) {
    v3 ^= word;
    round();
    v0 ^= word;
  }
};

// The order of octets in a word does not matter here: hashes never leave the process.
std::uint64_t load(const char* bytes, std::size_t count) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, count);
  return word;
}

const HashKey& process_key() {
  static const HashKey key = [] {
    std::random_device random;
    const auto word = [&random] { return std::uint64_t{random()} << 32 | random(); };
    return HashKey{word(), word()};
  }();
  return key;
}

}  // namespace

std::uint64_t siphash13(std::string_view bytes, const HashKey& key) {
  State state{key.k0 ^ 0x736f6d6570736575ULL, key.k1 ^ 0x646f72616e646f6dULL, key.k0 ^ 0x6c7967656e657261ULL,
              key.k1 ^ 0x7465646279746573ULL};
  const std::size_t whole = bytes.size() & ~std::size_t{7};
  for (std::size_t i = 0; i < whole; i += 8) state.absorb(load(bytes.data() + i, 8));
  state.absorb(std::uint64_t{bytes.size()} << 56 | load(bytes.data() + whole, bytes.size() - whole));
  state.v2 ^= 0xff;
  for (int i = 0; i < 3; ++i) state.round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

std::uint64_t keyed_hash(std::string_view bytes) { return siphash13(bytes, process_key()); }

std::uint64_t keyed_hash(const IpNetwork& network) {
  std::array<char, 18> bytes{};
  std::memcpy(bytes.data(), network.base.octets.data(), 16);
  bytes[16] = network.base.v6 ? 1 : 0;
  bytes[17] = static_cast<char>(network.prefix_bits);
  return siphash13({bytes.data(), bytes.size()}, process_key());
}

}  // namespace portcullis::policy
