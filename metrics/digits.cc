#include "metrics/digits.h"

namespace portcullis::metrics {

char* write_decimal(char* at, std::uint64_t value) {
  if (value >= 10000) {  // seldom: the last four are apart
    at = write_decimal(at, value / 10000);
    const auto last = static_cast<unsigned>(value % 10000);
    return write_two_digits(write_two_digits(at, last / 100), last % 100);
  }
  const auto small = static_cast<unsigned>(value);
  if (small < 10) return write_digit(at, small);
  if (small < 100) return write_two_digits(at, small);
  at = small < 1000 ? write_digit(at, small / 100) : write_two_digits(at, small / 100);
  return write_two_digits(at, small % 100);
}

}  // namespace portcullis::metrics
