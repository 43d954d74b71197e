#include "proxy/auth/breaker.h"

namespace portcullis::auth {

bool Breaker::allow(Clock::time_point now) {
  switch (state_) {
    case State::closed:
      return true;
    case State::open:
      if (now < open_until_) return false;
      state_ = State::trial;
      return true;
    case State::trial:
      return false;
  }
  return false;
}

// Calls that began before the breaker opened end later than that; an answer of any of them proves
// the backend alive.
Breaker::Change Breaker::record(bool answered, Clock::time_point now) {
  if (answered) {
    failures_ = 0;
    const bool was_closed = state_ == State::closed;
    state_ = State::closed;
    return was_closed ? Change::none : Change::closed;
  }
  if (failures_to_open_ == 0 || state_ == State::open) return Change::none;
  ++failures_;
  if (state_ == State::closed && failures_ < failures_to_open_) return Change::none;
  const bool was_closed = state_ == State::closed;
  state_ = State::open;
  open_until_ = now + open_for_;
  return was_closed ? Change::opened : Change::none;
}

}  // namespace portcullis::auth
