// Circuit breaker: after `failures` failures in a row nobody asks for `open_for`; then one trial is
// let through, whose answer closes the breaker or keeps it open for another round. Not thread-safe:
// the pool's lock covers it.
#pragma once

#include <cstdint>

#include "proxy/auth/backend.h"

namespace portcullis::auth {

class Breaker {
 public:
  enum class Change : std::uint8_t { none, opened, closed };

  // `failures` 0: never opens.
  Breaker(std::uint32_t failures, std::chrono::seconds open_for)
      : failures_to_open_(failures), open_for_(open_for) {}

  enum class Pass : std::uint8_t { no, call, trial };
  // Whether a call may be made now. Every trial owes one record(), or forgo() when it is not made after all.
  Pass allow(Clock::time_point now);
  void forgo();
  bool closed() const { return state_ == State::closed; }
  Change record(bool answered, Clock::time_point now);

 private:
  enum class State : std::uint8_t { closed, open, trial };
  std::uint32_t failures_to_open_;
  std::chrono::seconds open_for_;
  State state_ = State::closed;
  std::uint32_t failures_ = 0;
  Clock::time_point open_until_;
};

}  // namespace portcullis::auth
