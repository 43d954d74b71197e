// Feeds a stream parser its input whole, octet by octet, and in random cuts (seeded), each piece in a
// heap buffer of exactly its size, so that AddressSanitizer sees a read of one octet too many.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <random>
#include <string_view>
#include <vector>

namespace portcullis::test {

// A copy in exact-size heap memory.
class ExactBuffer {
 public:
  explicit ExactBuffer(std::string_view bytes) : octets_(new char[bytes.size()]), size_(bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), octets_.get());
  }
  std::string_view view() const { return {octets_.get(), size_}; }

 private:
  std::unique_ptr<char[]> octets_;
  std::size_t size_;
};

// Lengths of the pieces of one way to cut `size` octets.
using Cuts = std::vector<std::size_t>;

inline std::vector<Cuts> segmentations(std::size_t size, unsigned random_ways = 8) {
  std::vector<Cuts> ways{{size}, Cuts(size, 1)};
  std::mt19937 random(static_cast<std::mt19937::result_type>(size + 1));
  for (unsigned way = 0; way < random_ways; ++way) {
    Cuts cuts;
    const std::size_t longest = way % 2 == 0 ? 5 : 200;
    for (std::size_t left = size; left > 0;) {
      const std::size_t piece = std::min(left, 1 + random() % longest);
      cuts.push_back(piece);
      left -= piece;
    }
    ways.push_back(cuts);
  }
  return ways;
}

// The two-piece cuts: one at every place.
inline std::vector<Cuts> every_cut(std::size_t size) {
  std::vector<Cuts> ways;
  for (std::size_t cut = 1; cut < size; ++cut) ways.push_back({cut, size - cut});
  return ways;
}

}  // namespace portcullis::test
