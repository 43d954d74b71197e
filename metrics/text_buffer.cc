#include "metrics/text_buffer.h"

#include <utility>

namespace portcullis::metrics {
namespace {

constexpr std::size_t least_octets = 256;

}  // namespace

void TextBuffer::grow(std::size_t octets) {
  const std::string_view text = view();
  const auto capacity = static_cast<std::size_t>(limit_ - octets_.get());
  const std::size_t larger = std::max({least_octets, capacity * 2, text.size() + octets});
  auto memory = std::make_unique_for_overwrite<char[]>(larger);
  end_ = std::ranges::copy(text, memory.get()).out;
  limit_ = memory.get() + larger;
  octets_ = std::move(memory);
}

}  // namespace portcullis::metrics
