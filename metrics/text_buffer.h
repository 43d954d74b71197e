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

namespace portcullis::metrics {

class TextBuffer {
 public:
  std::string_view view() const { return {octets_.get(), size()}; }
  std::size_t size() const { return static_cast<std::size_t>(end_ - octets_.get()); }
  void clear() { end_ = octets_.get(); }
  void cut_to(std::size_t size) { end_ = octets_.get() + size; }  // size <= size()

  bool has_room(std::size_t octets) const { return static_cast<std::size_t>(limit_ - end_) >= octets; }
  // The end of the text, with at least that many octets to write to. Good until the next call.
  char* room(std::size_t octets) {
    if (!has_room(octets)) [[unlikely]]
      grow(octets);
    return end_;
  }
  char* end() { return end_; }
  // The text ends here now: somewhere in the room asked for last.
  void end_at(char* end) { end_ = end; }

  void append(std::string_view text) { end_at(std::ranges::copy(text, room(text.size())).out); }
  void append(char octet) {
    char* const at = room(1);
    *at = octet;
    end_at(at + 1);
  }
  // Writes over an octet that is there already.
  void put(std::size_t index, char octet) { octets_[index] = octet; }

 private:
  void grow(std::size_t octets);

  std::unique_ptr<char[]> octets_;
  char* end_ = nullptr;    // of the text
  char* limit_ = nullptr;  // of the memory
};

}  // namespace portcullis::metrics
