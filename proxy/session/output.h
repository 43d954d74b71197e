// Bytes on their way to one peer: a sequence of copied pieces and of views into the event's input, in
// order. The driver writes it with one gathering write and copies only what the socket did not take;
// views must stay valid until the driver has done that (they do: it happens before the event returns).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis::session {

class Output {
 public:
  // Copies `bytes`.
  void append(std::string_view bytes) {
    const std::size_t before = owned_.size();
    owned_.append(bytes);
    appended(before);
  }
  // Does not copy: `bytes` outlive the event. Small pieces are copied, that is cheaper than an iovec.
  void append_view(std::string_view bytes) {
    if (bytes.size() < view_threshold_octets) return append(bytes);
    segments_.push_back({bytes.data(), 0, bytes.size()});
    size_ += bytes.size();
  }
  // To write into directly (smtp::append_wire): owned(), then appended(size from before).
  std::string& owned() { return owned_; }
  void appended(std::size_t size_before) {
    const std::size_t added = owned_.size() - size_before;
    if (added == 0) return;
    size_ += added;
    if (!segments_.empty() && segments_.back().view == nullptr) {
      segments_.back().size += added;
    } else {
      segments_.push_back({nullptr, size_before, added});
    }
  }

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  std::size_t segments() const { return segments_.size(); }
  std::string_view segment(std::size_t index) const {
    const Segment& s = segments_[index];
    return s.view != nullptr ? std::string_view(s.view, s.size)
                             : std::string_view(owned_).substr(s.offset, s.size);
  }
  void clear() {
    if (owned_.capacity() > retained_octets) std::string().swap(owned_);
    owned_.clear();
    segments_.clear();
    size_ = 0;
  }
  // All of it as one string.
  std::string joined() const {
    std::string all;
    all.reserve(size_);
    for (std::size_t i = 0; i < segments_.size(); ++i) all.append(segment(i));
    return all;
  }

 private:
  static constexpr std::size_t view_threshold_octets = 512;
  static constexpr std::size_t retained_octets = 128 * 1024;
  struct Segment {
    const char* view;    // null: a piece of owned_
    std::size_t offset;  // into owned_
    std::size_t size;
  };
  std::string owned_;
  std::vector<Segment> segments_;
  std::size_t size_ = 0;
};

}  // namespace portcullis::session
