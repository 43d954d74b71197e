// The upstream does not reply, and another server may.
#include "proxy/session/session.h"

namespace portcullis::session {

// `hung`: the server does not reply to a new connection either. Until a recipient is answered, the client has
// heard nothing that depends on the server: the transaction begins anew on another connection. Later, a
// server that only takes its time is waited for. One that hangs is not, except for the reply to a whole
// message: that message may be accepted, and would be there twice.
void Session::upstream_silent(bool hung, Now now, Effects& fx) {
  if (finished_ || !transaction_ || link_ == nullptr) return;
  Transaction& t = *transaction_;
  if (t.upstream == UpstreamState::ended) return;
  if (may_begin_anew() && (owes_replies() || t.unconfirmed > 0)) {
    link_->fail(LinkFailure::timeout, "no reply in time");
    fx.leave_upstream = Leave::abort;
    begin_anew(now, fx);
    return;
  }
  if (!hung || !upstream_owes()) return;
  link_->fail(LinkFailure::timeout, "no reply in time, nor to a new connection");
  fx.leave_upstream = Leave::abort;
  upstream_lost(LinkFailure::timeout, link_->failure_text(), now, fx);
}

// Whether the upstream is the one that is waited for.
bool Session::upstream_owes() const { return link_->outstanding() > 0 || upstream_full_; }

// Nobody was told anything yet.
bool Session::may_begin_anew() const {
  const Transaction& t = *transaction_;
  return t.upstream == UpstreamState::envelope && t.attempts < connection_attempts &&
         t.accepted == t.unconfirmed && !t.upstream_refusal;
}

void Session::begin_anew(Now now, Effects& fx) {
  Transaction& t = *transaction_;
  link_ = nullptr;
  upstream_full_ = false;
  t.upstream = UpstreamState::acquiring;
  if (t.early_data != EarlyData::no) t.early_data = EarlyData::wanted;
  fx.acquire_upstream = true;
  arm(Deadline::upstream, now);
}

}  // namespace portcullis::session
