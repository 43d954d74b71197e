// Sharing upstream connections with other sessions: what a transaction does with its connection, how it gives
// one back and goes on later with another, and how its use of one is ended.
#include "proxy/session/session.h"
#include "smtp/command.h"

namespace portcullis::session {

namespace {

// Each time all accepted recipients are repeated: without a bound a client could make the server answer a
// thousand of them for each command of its own.
constexpr std::uint8_t most_yields = 4;

std::int64_t seconds_ms(std::uint32_t seconds) { return std::int64_t{seconds} * 1000; }

}  // namespace

// --- what a connection is used for ----------------------------------------------------------------

void Session::begin_upstream_use(Now now) {
  pace_.begin(now.mono_ms, seconds_ms(listener_.upstream.slow_after_seconds));
  server_is_waited_for_ = false;
  upstream_use_since_ms_ = now.mono_ms;
}

// After each event: whether the server is the one to wait for.
void Session::note_upstream_use(Now now) {
  if (link_ == nullptr) return;
  const bool waits = link_->outstanding() > 0 || upstream_full_;
  if (waits == server_is_waited_for_) return;
  server_is_waited_for_ = waits;
  if (!waits) pace_.lend(now.mono_ms - upstream_use_since_ms_);
  upstream_use_since_ms_ = now.mono_ms;
}

void Session::note_client_pace(std::size_t octets, Now now) {
  if (link_ == nullptr) return;
  pace_.took(octets, listener_.upstream.slow_rate, now.mono_ms,
             seconds_ms(listener_.upstream.slow_after_seconds));
}

// The client owes its next command, and has heard the reply to each before. DATA that it has not sent yet may
// be with the server.
bool Session::may_yield() const {
  if (link_ == nullptr || !transaction_ || transaction_->upstream != UpstreamState::envelope) return false;
  const Transaction& t = *transaction_;
  const std::size_t data_awaited = t.early_data == EarlyData::sent ? 1 : 0;
  return !t.content && !owes_replies() && !early_data_decides() && !turn_spent() && !upstream_full_ &&
         link_->outstanding() == data_awaited && t.unconfirmed == 0;
}

UpstreamHold Session::upstream_hold() const {
  UpstreamHold hold;
  if (link_ == nullptr || !transaction_) return hold;
  hold.since_ms = upstream_use_since_ms_;
  hold.pace_until_ms = pace_.until_ms();
  hold.half_closed = eof_;
  if (transaction_->upstream == UpstreamState::ended) {
    hold.use = UpstreamUse::ended;
  } else if (may_yield()) {
    hold.use = UpstreamUse::idle;
  } else {
    hold.use = server_is_waited_for_ ? UpstreamUse::server_answers : UpstreamUse::client_sends;
  }
  return hold;
}

// --- giving back and going on ---------------------------------------------------------------------

void Session::yield_upstream(Now, Effects& fx) {
  if (finished_ || !may_yield()) return;
  Transaction& t = *transaction_;
  leave_upstream(fx);
  t.early_data = EarlyData::no;
  t.data_refusal.reset();
  if (t.upstream_refusal) return;  // nothing is left to be done with this transaction
  if (++t.yields > most_yields) {
    t.upstream_refusal = refusal(451, "4.3.2", "The destination mail server is busy, try again later");
    return;
  }
  t.upstream = UpstreamState::none;
  t.attempts = 0;
  t.unconfirmed = t.accepted;
}

// DATA and BDAT of a transaction that has given its connection back wait until another server, or the same,
// has accepted all its recipients again.
bool Session::awaits_envelope(const smtp::Command& parsed, Now now, Effects& fx) {
  const bool content =
      (parsed.verb == smtp::Verb::data && parsed.argument.empty()) || parsed.verb == smtp::Verb::bdat;
  if (!content || !transaction_ || transaction_->unconfirmed == 0) return false;
  Transaction& t = *transaction_;
  if (t.upstream == UpstreamState::none) {
    t.upstream = UpstreamState::acquiring;
    fx.acquire_upstream = true;
    arm(Deadline::upstream, now);
  }
  return repeats_envelope();
}

bool Session::repeats_envelope() const {
  return transaction_ && transaction_->unconfirmed > 0 &&
         (transaction_->upstream == UpstreamState::acquiring ||
          transaction_->upstream == UpstreamState::envelope);
}

// The client was told that this recipient is accepted. If the server now says otherwise, the message can not
// be what the client believes it to be.
void Session::repeated_recipient_answered(const smtp::Reply& reply, Now now, Effects& fx) {
  Transaction& t = *transaction_;
  if (!t.upstream_refusal && (reply.code == 250 || reply.code == 251)) {
    --t.unconfirmed;
    return;
  }
  if (!t.upstream_refusal) {
    t.upstream_refusal = refusal(451, "4.3.0", "A recipient accepted before is refused now, try again later");
  }
  t.unconfirmed = 0;
  settle_all_recipients(*t.upstream_refusal, fx);
  leave_upstream(fx);
  arm(Deadline::command, now);
}

// --- the end of a use that others have waited for too long ----------------------------------------

void Session::end_upstream_use(Now now, Effects& fx) {
  const UpstreamHold hold = upstream_hold();
  if (finished_) return;
  switch (hold.use) {
    case UpstreamUse::none:
    case UpstreamUse::ended:
      return;
    case UpstreamUse::idle:
      return yield_upstream(now, fx);
    case UpstreamUse::server_answers:
      fx.leave_upstream = Leave::abort;
      return upstream_lost(LinkFailure::busy, "other sessions wait for the connection", now, fx);
    case UpstreamUse::client_sends:
      return bye(421, "4.4.2", "Message is sent too slowly while others wait", metrics::CloseReason::timeout,
                 "slow", now, fx);
  }
}

}  // namespace portcullis::session
