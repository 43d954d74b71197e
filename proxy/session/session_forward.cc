// The message to the upstream: by BDAT where it can (no 354 to wait for, and no end-of-data that
// content could imitate), else by DATA. The end of the message is sent only after the last verdict.
#include <algorithm>
#include <utility>

#include "policy/identity.h"
#include "proxy/session/received.h"
#include "proxy/session/session.h"
#include "smtp/authentication_results.h"
#include "smtp/limits.h"

namespace portcullis::session {

namespace {

// Chunks below this wait for more content: a client that sends octet by octet must not become one
// BDAT an octet.
constexpr std::size_t least_chunk_octets = 16 * 1024;

// Messages in a row with one recipient each, before DATA is expected behind the first RCPT of the next.
constexpr std::uint32_t lone_recipients_enough = 2;

}  // namespace

void Session::begin_message(Now now, Effects& fx) {
  Transaction& t = *transaction_;
  Content& c = *t.content;
  const std::string literal = policy::to_literal(client_);
  const std::string id = transaction_id();
  const std::string recipient = t.recipients.size() == 1 ? smtp::to_wire(t.recipients[0]) : std::string();
  const TlsFacts* const tls = client_tls();
  append_received(c.held, {helo_, literal, env_.config.hostname,
                           tls != nullptr ? std::string_view(tls->version) : std::string_view(),
                           tls != nullptr ? std::string_view(tls->cipher) : std::string_view(),
                           account_ ? std::string_view(account_->login) : std::string_view(), id, recipient,
                           extended_, t.mail.smtputf8, listener_.settings.hide_client_in_received,
                           listener_.settings.hide_login_in_received, now.wall});
  c.added_octets = c.held.size();
  if (exceeds_upstream_size()) return refuse_too_large_for_upstream(fx);
  hold_header();
  c.upstream_bdat = upstream_takes_chunks();
  if (c.upstream_bdat || t.early_data == EarlyData::granted) {
    t.upstream = UpstreamState::streaming;
    return;
  }
  if (t.data_refusal) {
    note_upstream_reply(*t.data_refusal);
    return refuse_message(relayed(*t.data_refusal), {}, fx);
  }
  if (t.early_data != EarlyData::sent) link_->command("DATA\r\n", Expect::data, fx.upstream);
  t.upstream = UpstreamState::await_354;
  arm(Deadline::upstream, now);
}

// The header as the client sent it, but for results of authentication that claim to be ours (RFC 8601 section
// 5): what filters and mail readers behind us believe. A mail server of ours (XFORWARD) may say what it
// found.
void Session::hold_header() {
  Transaction& t = *transaction_;
  Content& c = *t.content;
  if (may_xforward_) {
    c.held += c.header.block();
  } else {
    t.removed_fields = smtp::append_without_results(c.held, c.header.block(), [&](std::string_view id) {
      const std::optional<std::string> ours = policy::canonical_domain(env_.config.hostname);
      return ours && policy::canonical_domain(id) == ours;
    });
    env_.shard.add<metrics::Metric::header_fields_removed>(t.removed_fields);
  }
  c.header.release();
}

bool Session::upstream_takes_chunks() const {
  return listener_.upstream.chunking && link_->extensions().chunking && link_->extensions().pipelining;
}

// The client has said DATA, be it behind RCPTs that the upstream has not answered yet.
void Session::send_data_early(Effects& fx) {
  if (!transaction_ || !may_send_data_early_) return;
  Transaction& t = *transaction_;
  if (t.upstream == UpstreamState::acquiring) t.early_data = EarlyData::wanted;
  if (t.upstream != UpstreamState::envelope || t.early_data > EarlyData::wanted) return;
  if (upstream_takes_chunks() || (!link_->extensions().pipelining && link_->outstanding() > 0)) return;
  link_->command("DATA\r\n", Expect::data, fx.upstream);
  t.early_data = EarlyData::sent;
}

// A client that does not pipeline, and whose messages had one recipient each: its next command is DATA again.
// What is behind is spared a round trip, and so is the client.
bool Session::expects_data() const {
  return lone_recipients_ >= lone_recipients_enough && ledger_.size() == 1 &&
         transaction_->recipients.size() == 1 && pending_.empty();
}

// Another recipient after all. A server that has DATA takes no RCPT, and one that refused it may have
// forgotten the envelope with it (some reset the transaction): it begins anew on another connection. Where
// nobody was accepted the refusal says just that, and the connection is as it was before.
void Session::take_back_data(Now now, Effects& fx) {
  Transaction& t = *transaction_;
  const bool forgotten = t.early_data == EarlyData::refused && t.accepted > 0;
  if (t.inside_early_data() || forgotten) {
    leave_upstream(fx);
    t.unconfirmed = t.accepted;
    t.upstream = UpstreamState::acquiring;
    fx.acquire_upstream = true;
    arm(Deadline::upstream, now);
  }
  t.early_data = EarlyData::no;
  t.data_refusal.reset();
}

// There is nobody to send content to: the connection is closed unless its server refused DATA too.
void Session::give_up_early_data(Effects& fx) {
  Transaction& t = *transaction_;
  if (t.upstream != UpstreamState::envelope) return;
  if (t.inside_early_data()) {
    leave_upstream(fx);
    t.upstream = UpstreamState::none;
  }
  t.early_data = EarlyData::no;
  t.data_refusal.reset();
}

void Session::push_content(bool last, Effects& fx) {
  Transaction& t = *transaction_;
  if (t.upstream == UpstreamState::await_354) {
    for (const std::string_view slice : env_.staged) t.content->held.append(slice);
  } else if (t.upstream == UpstreamState::streaming) {
    t.content->upstream_bdat ? push_chunk(last, fx) : push_data(last, fx);
  }
}

void Session::push_chunk(bool last, Effects& fx) {
  Content& c = *transaction_->content;
  std::size_t size = c.held.size();
  for (const std::string_view slice : env_.staged) size += slice.size();
  if (!last && size < least_chunk_octets) {
    for (const std::string_view slice : env_.staged) c.held.append(slice);
    return;
  }
  fx.upstream.append("BDAT " + std::to_string(size) + (last ? " LAST\r\n" : "\r\n"));
  fx.upstream.append(c.held);
  for (const std::string_view slice : env_.staged) fx.upstream.append_view(slice);
  c.held.clear();
  link_->expect(last ? Expect::end_of_data : Expect::chunk);
  if (!last) ++c.chunks_outstanding;
}

void Session::push_data(bool last, Effects& fx) {
  Content& c = *transaction_->content;
  env_.framed.clear();
  c.writer.feed(c.held, env_.framed);
  for (const std::string_view piece : env_.framed) fx.upstream.append(piece);
  c.held.clear();
  env_.framed.clear();
  for (const std::string_view slice : env_.staged) {
    c.bdat ? c.writer.feed(slice, env_.framed) : c.writer.feed_cut_at_dots(slice, env_.framed);
  }
  for (const std::string_view piece : env_.framed) fx.upstream.append_view(piece);
  if (last) {
    fx.upstream.append(c.writer.finish());
    link_->expect(Expect::end_of_data);
  }
}

// What is staged is the end of the content.
void Session::end_message(Now now, Effects& fx) {
  Transaction& t = *transaction_;
  // The 354 is still to come; or replies to chunks are: with no reply owed, what comes next can only be the
  // answer to the whole message. Were the last chunk sent behind others, a reply too many to one of these
  // would pass for it (law 1).
  if (t.upstream != UpstreamState::streaming || t.content->chunks_outstanding > 0) {
    for (const std::string_view slice : env_.staged) t.content->held.append(slice);
    return arm(Deadline::upstream, now);
  }
  fx.check_upstream_silent |= link_->outstanding() == 0;
  push_content(true, fx);
  t.upstream = UpstreamState::ended;
  t.ended_ms = now.mono_ms;
  arm(Deadline::upstream_final, now);
}

void Session::data_answered(const smtp::Reply& reply, Now now, Effects& fx) {
  Transaction& t = *transaction_;
  const bool early = t.upstream == UpstreamState::envelope && t.early_data == EarlyData::sent;
  const bool clean = reply.transient() || reply.permanent();
  if (!early && t.upstream != UpstreamState::await_354) return;
  if (early && !t.content) arm(Deadline::command, now);
  if (early && reply.code == 354) {
    t.early_data = EarlyData::granted;
    return;
  }
  if (reply.code == 354) {
    t.upstream = UpstreamState::streaming;
    env_.staged.clear();
    if (t.content->complete) return end_message(now, fx);
    push_content(false, fx);
    arm(Deadline::content, now);
    return;
  }
  // Refused cleanly, the connection goes on with RSET; an answer that is no answer ends it.
  t.early_data = clean ? EarlyData::refused : EarlyData::spoiled;
  if (early) {
    t.data_refusal = reply;
    return;
  }
  note_upstream_reply(reply);
  if (clean) t.upstream = UpstreamState::envelope;
  refuse_message(relayed(reply), {}, fx);
  if (t.content->complete) {
    const smtp::Reply refused = *t.refusal;
    final_reply(refused,
                refused.permanent() ? metrics::MessageResult::rejected : metrics::MessageResult::deferred,
                now, fx);
  } else {
    arm(Deadline::content, now);
  }
}

void Session::message_answered(const smtp::Reply& reply, Now now, Effects& fx) {
  Transaction& t = *transaction_;
  if (t.upstream != UpstreamState::ended) return;
  note_upstream_reply(reply);
  if (reply.code == 250) {
    smtp::Reply ok = reply;
    if (ok.enhanced.empty()) ok.enhanced = "2.0.0";
    ok.text = t.upstream_reply;
    link_ = nullptr;
    t.upstream = UpstreamState::gone;
    fx.leave_upstream = Leave::release;
    return final_reply(std::move(ok), metrics::MessageResult::accepted, now, fx);
  }
  const smtp::Reply refused = relayed(reply);
  // 2xx other than 250, 3xx: not an answer to a message; what the server thinks is unknown.
  t.early_data = EarlyData::no;
  if (reply.transient() || reply.permanent()) t.upstream = UpstreamState::envelope;
  leave_upstream(fx);
  final_reply(refused,
              refused.permanent() ? metrics::MessageResult::rejected : metrics::MessageResult::deferred, now,
              fx);
}

void Session::leave_upstream(Effects& fx) {
  Transaction& t = *transaction_;
  const UpstreamState state = std::exchange(t.upstream, UpstreamState::gone);
  upstream_full_ = false;
  switch (state) {
    case UpstreamState::none:
      t.upstream = UpstreamState::none;
      return;
    case UpstreamState::gone:
      return;
    case UpstreamState::acquiring:
      // Asked for by this very event: nobody has heard of that yet. How an earlier connection is left must
      // stand.
      if (!std::exchange(fx.acquire_upstream, false)) fx.leave_upstream = Leave::cancel;
      return;
    case UpstreamState::envelope:
      // Inside DATA only closing undoes what was begun. A session that has cost a connection this way gets at
      // no more of them.
      if (!t.inside_early_data()) break;
      may_send_data_early_ = false;
      fx.leave_upstream = Leave::abort;
      link_ = nullptr;
      return;
    case UpstreamState::streaming:
      // Between two chunks RSET undoes the message (RFC 3030); inside DATA only closing does.
      if (t.content && t.content->upstream_bdat) break;
      [[fallthrough]];
    case UpstreamState::await_354:
    case UpstreamState::ended:
      fx.leave_upstream = Leave::abort;
      link_ = nullptr;
      return;
  }
  if (link_ == nullptr) return;
  link_->command("RSET\r\n", Expect::rset, fx.upstream);
  fx.leave_upstream = Leave::release;
  link_ = nullptr;
}

// A reply of its own: the caller's may belong to the transaction that ends here.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
void Session::final_reply(smtp::Reply reply, metrics::MessageResult result, Now now, Effects& fx) {
  const bool bdat = transaction_->content->bdat;
  if (!reply.positive()) ++errors_;
  if (wait_ == Wait::upstream_reply) wait_ = Wait::none;
  input_ = Input::command;
  answer(bdat ? ReplyTo(smtp::Verb::bdat) : ReplyTo(metrics::ReplyVerb::end_of_data), reply, fx);
  end_transaction(result, &reply, now, fx);
  arm(Deadline::command, now);
}

}  // namespace portcullis::session
