#include <cstddef>
#include <utility>

#include "smtp/sasl.h"

namespace portcullis::smtp {

void wipe(std::string& bytes) {
  // All of the capacity: a longer value may have been here before. Growing to it allocates nothing.
  bytes.resize(bytes.capacity());
  volatile char* octets = bytes.data();
  for (std::size_t i = 0; i < bytes.size(); ++i) octets[i] = '\0';
  bytes.clear();
}

void Secret::wipe() { smtp::wipe(bytes_); }

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) {
    wipe();  // first: assignment may give the old buffer back
    bytes_ = other.bytes_;
  }
  return *this;
}

// A short string is inside the object, so moving it is copying it: the source is wiped either way.
Secret::Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)) { other.wipe(); }

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe();
    bytes_ = std::move(other.bytes_);
    other.wipe();
  }
  return *this;
}

}  // namespace portcullis::smtp
