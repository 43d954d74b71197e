// A text that is written at its end. Room is asked for once, for the most that may come; what comes is then
// plain stores. Its memory is kept from text to text.
//
//   char* at = buffer.room(2);
//   *at++ = 'o';
//   buffer.end_at(at);              // one octet more
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

namespace portcullis::metrics {

class TextBuffer {
 public:
  std::string_view view() const { return {octets_.get(), size_}; }
  std::size_t size() const { return size_; }
  void clear() { size_ = 0; }

  // The end of the text, with at least that many octets to write to. Good until the next call.
  char* room(std::size_t octets) {
    if (capacity_ - size_ < octets) [[unlikely]]
      grow(octets);
    return octets_.get() + size_;
  }
  // The text ends here now: somewhere in the room asked for last.
  void end_at(const char* end) { size_ = static_cast<std::size_t>(end - octets_.get()); }

  void append(std::string_view text) {
    char* const end = std::ranges::copy(text, room(text.size())).out;
    end_at(end);
  }
  void append(char octet) {
    char* const at = room(1);
    *at = octet;
    end_at(at + 1);
  }
  // Writes over an octet that is there already.
  void put(std::size_t index, char octet) { octets_[index] = octet; }

 private:
  static constexpr std::size_t first_octets = 2048;  // a record of the journal and room to spare

  void grow(std::size_t octets) {
    const std::size_t capacity = std::max({first_octets, capacity_ * 2, size_ + octets});
    auto larger = std::make_unique_for_overwrite<char[]>(capacity);
    std::ranges::copy(view(), larger.get());
    octets_ = std::move(larger);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> octets_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace portcullis::metrics
