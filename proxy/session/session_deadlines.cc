// What a session waits for, how long, and what happens when that time is over.
#include <algorithm>

#include "proxy/session/session.h"

namespace portcullis::session {

namespace {

constexpr std::int64_t least_auth_guard_ms = 60'000;
constexpr std::int64_t answer_ms = 5'000;  // from a backend's deadline to the session
constexpr std::int64_t grace_ms = 60'000;  // before the minimum rate of a body counts

std::int64_t seconds_ms(std::uint32_t seconds) { return std::int64_t{seconds} * 1000; }

// The backends are asked one behind the other, and each answers or gives up within its own deadline.
std::int64_t auth_guard_ms(const auth::Settings& settings) {
  std::int64_t all = 0;
  for (const auth::BackendKind backend : settings.backends) {
    if (backend == auth::BackendKind::ldap) all += settings.ldap.limits.deadline_ms;
    if (backend == auth::BackendKind::imap) all += settings.imap.limits.deadline_ms;
  }
  return std::max(least_auth_guard_ms, all + answer_ms);
}

}  // namespace

void Session::timeout(Now now, Effects& fx) {
  if (finished_) return;
  if (deadline_kind_ != Deadline::upstream_final && now.mono_ms >= session_end_ms()) {
    bye(421, "4.4.2", "Session has lasted too long", metrics::CloseReason::timeout, "session", now, fx);
    return;
  }
  // A client that may not send because the upstream does not take is not to blame.
  const bool upstream_slow = upstream_full_ || blocked();
  const Deadline kind =
      deadline_kind_ == Deadline::content && upstream_slow ? Deadline::upstream : deadline_kind_;
  switch (kind) {
    case Deadline::upstream:
    case Deadline::upstream_stall:
    case Deadline::upstream_final: {
      // The upstream is silent: its connection can not be used again, the client hears a clear 451.
      if (link_ != nullptr) {
        link_->fail(LinkFailure::timeout, "no reply in time");
        fx.leave_upstream = Leave::abort;
      } else {
        fx.leave_upstream = Leave::cancel;
      }
      upstream_lost(LinkFailure::timeout, "no reply in time", now, fx);
      return;
    }
    case Deadline::auth:
      wait_ = Wait::none;
      auth_outcome_ = std::make_unique<auth::Outcome>();
      auth_outcome_->detail = "no answer in time";
      auth_answer(now, fx);
      after_event(now, fx);
      return;
    case Deadline::greeting:
    case Deadline::command:
    case Deadline::content:
      bye(421, "4.4.2", "Timeout waiting for data from the client", metrics::CloseReason::timeout,
          input_ == Input::command ? "command" : "content", now, fx);
      return;
  }
}

void Session::upstream_full(bool full, Now now) {
  if (full == upstream_full_ || finished_) return;
  upstream_full_ = full;
  note_upstream_use(now);
  // From here on the upstream is the one to wait for; and then the client again.
  if (!content_under_way()) return;
  arm(full                       ? Deadline::upstream_stall
      : input_ == Input::command ? Deadline::command
                                 : Deadline::content,
      now);
}

// The client need not make up for the time in which the upstream was the one to wait for.
void Session::lend_time(bool upstream_is_waited_for, Now now) {
  Content& c = *transaction_->content;
  if (c.upstream_since_ms && !upstream_is_waited_for) {
    c.lent_ms += now.mono_ms - *c.upstream_since_ms;
    c.upstream_since_ms.reset();
  } else if (!c.upstream_since_ms && upstream_is_waited_for) {
    c.upstream_since_ms = now.mono_ms;
  }
}

bool Session::content_under_way() const {
  return transaction_ && transaction_->content && !transaction_->content->complete;
}

std::int64_t Session::session_end_ms() const {
  return started_ms_ + seconds_ms(listener_.settings.limits.session_timeout_seconds);
}

void Session::arm(Deadline kind, Now now) {
  const config::ListenerLimits& limits = listener_.settings.limits;
  const config::Upstream& upstream = listener_.upstream;
  // Between two chunks the client owes a command.
  if (kind == Deadline::content && input_ == Input::command && !content_waits_for_reply()) {
    kind = Deadline::command;
  }
  // Content that waits for the 354 waits for the upstream, whoever sent the last octet; and so does a client
  // that is not read from, as the upstream does not take what it sent before, be it a chunk or its command.
  if (kind == Deadline::content && content_waits_for_reply()) {
    kind = Deadline::upstream;
  } else if ((kind == Deadline::content || kind == Deadline::command) && upstream_full_ &&
             content_under_way()) {
    kind = Deadline::upstream_stall;
  }
  deadline_kind_ = kind;
  if (content_under_way()) lend_time(kind == Deadline::upstream || kind == Deadline::upstream_stall, now);
  std::int64_t span = 0;
  switch (kind) {
    case Deadline::greeting:
      span = seconds_ms(limits.greeting_timeout_seconds);
      break;
    case Deadline::command:
      span = seconds_ms(limits.command_timeout_seconds);
      break;
    case Deadline::content:
      span = seconds_ms(limits.data_timeout_seconds);
      break;
    case Deadline::auth:
      span = auth_guard_ms(env_.config.auth);
      break;
    case Deadline::upstream:
      span = transaction_ && transaction_->upstream == UpstreamState::acquiring
                 ? seconds_ms(upstream.waiting_seconds) + seconds_ms(upstream.connect_timeout_seconds)
                 : seconds_ms(upstream.command_timeout_seconds);
      break;
    case Deadline::upstream_stall:
      span = seconds_ms(upstream.data_timeout_seconds);
      break;
    case Deadline::upstream_final:
      span = seconds_ms(upstream.end_of_data_timeout_seconds);
      break;
  }
  deadline_ms_ = now.mono_ms + span;
  // The upstream's answer to a whole message is waited for even past the session's end: cutting it
  // off would risk a duplicate.
  if (kind != Deadline::upstream_final) deadline_ms_ = std::min(deadline_ms_, session_end_ms());
  const std::uint64_t rate = limits.minimum_bytes_per_second;
  if (kind != Deadline::content || rate == 0) return;
  // A minimum rate, averaged over the body: idle timeouts alone let a client dribble for ever.
  const bool discards = input_ == Input::discard_chunk;
  if (!discards && !(transaction_ && transaction_->content)) return;
  const std::uint64_t octets =
      discards ? discarded_ : transaction_->content->octets + transaction_->content->swallowed;
  const std::int64_t started_ms =
      discards ? discard_started_ms_ : transaction_->content_started_ms + transaction_->content->lent_ms;
  const auto earned = static_cast<std::int64_t>(octets * 1000 / rate);
  deadline_ms_ = std::min(deadline_ms_, started_ms + grace_ms + earned);
}

}  // namespace portcullis::session
