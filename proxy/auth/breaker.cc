#include "proxy/auth/breaker.h"

namespace portcullis::auth {

Breaker::Pass Breaker::allow(Clock::time_point now) {
  switch (state_) {
    case State::closed:
      return Pass::call;
    case State::open:
      if (now < open_until_) return Pass::no;
      state_ = State::trial;
      return Pass::trial;
    case State::trial:
      return Pass::no;
  }
  return Pass::no;
}

void Breaker::forgo() {
  if (state_ == State::trial) state_ = State::open;  // its time is over: the next call is the trial
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
