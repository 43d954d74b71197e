// Events, input, the ledger of owed replies, and the end of a session.
#include "proxy/session/session.h"

#include <algorithm>
#include <utility>

#include "smtp/ascii.h"
#include "smtp/limits.h"
#include "smtp/line.h"

namespace portcullis::session {

Session::Session(const Environment& environment, const ListenerFacts& listener,
                 const policy::IpAddress& client, std::uint16_t client_port, std::string id,
                 const UpstreamOffer& offer, Now now, std::string via)
    : env_(environment),
      policies_(environment.policies),
      listener_(listener),
      client_(client),
      client_port_(client_port),
      id_(std::move(id)),
      via_(std::move(via)),
      by_proxy_header_(!via_.empty()),
      offer_(offer),
      started_ms_(now.mono_ms) {
  const policy::Network permissions = policies_->chain.permissions(client);
  auth_without_tls_ = permissions.may_auth_without_tls;
  may_xclient_ = permissions.may_send_xclient && !by_proxy_header_;
  may_xforward_ = permissions.may_send_xforward && !by_proxy_header_;
  may_be_probe_ = permissions.may_send_proxy_header && !by_proxy_header_;
}

Session::~Session() = default;

policy::WallTime Session::wall_seconds(Now now) {
  return std::chrono::time_point_cast<std::chrono::seconds>(now.wall);
}

std::string Session::transaction_id() const {
  return transaction_ ? id_ + '.' + std::to_string(transaction_->number) : id_;
}

policy::ClientFacts Session::client_facts() const {
  policy::ClientFacts facts;
  facts.address = client_;
  facts.listener = listener_.settings.name;
  facts.listener_index = listener_.index;
  facts.tls = tls_ != nullptr;
  facts.account = account_.get();
  facts.session_messages = client_messages_;
  facts.session_recipients = client_recipients_;
  return facts;
}

// --- events ---------------------------------------------------------------------------------------

void Session::start(Now now, Effects& fx) {
  arm(Deadline::greeting, now);
  if (listener_.settings.tls == config::ListenerTls::implicit && !tls_used_) {
    tls_used_ = true;
    wait_ = Wait::tls;
    fx.start_tls = true;
    return;
  }
  greeted_ = true;
  std::string text = env_.config.hostname + " ESMTP";
  if (!listener_.settings.banner.empty()) text = env_.config.hostname + ' ' + listener_.settings.banner;
  send_reply(metrics::ReplyVerb::greeting, {220, {}, std::move(text)}, fx);
}

void Session::client_bytes(std::string_view bytes, Now now, Effects& fx) {
  if (finished_) return;
  octets_in_ += bytes.size();
  note_client_pace(bytes.size(), now);
  if (turn_spent()) {
    pending_.append(bytes);
  } else if (pending_.empty()) {
    const std::string_view rest = consume(bytes, now, fx);
    if (!finished_) pending_.assign(rest);
  } else {
    keep(bytes);
    resume(now, fx);
  }
  if (holds_auth()) secret_arrived_ = true;
  after_event(now, fx);
}

void Session::next_turn(Now now, Effects& fx) {
  if (finished_) return;
  steps_ = 0;
  resume(now, fx);
  after_event(now, fx);
}

// Whether what is kept is, or may be the beginning of, AUTH data.
bool Session::holds_auth() const {
  if (pending_.empty()) return false;
  return input_ == Input::sasl || smtp::equals_ignoring_case(std::string_view(pending_).substr(0, 4), "AUTH");
}

// A string that grows leaves a copy of what it held in memory that nobody wipes (law 6).
void Session::keep(std::string_view bytes) {
  if (pending_.size() + bytes.size() > pending_.capacity() && holds_auth()) {
    std::string grown;
    grown.reserve(std::max(pending_.size() + bytes.size(), 2 * pending_.capacity()));
    grown += pending_;
    smtp::wipe(pending_);
    pending_ = std::move(grown);
  }
  pending_.append(bytes);
}

void Session::resume(Now now, Effects& fx) {
  if (pending_.empty() || blocked() || turn_spent()) return;
  if (command_waits_ && (owes_replies() || repeats_envelope())) return;  // it was looked at already
  // Views of this input may go into the effects, so the effects keep it.
  const bool secret = holds_auth();
  fx.kept_input.push_back(std::move(pending_));
  pending_.clear();
  if (secret) smtp::wipe(pending_);  // of a short text a copy is left behind
  const std::string_view rest = consume(fx.kept_input.back(), now, fx);
  if (!finished_) pending_.assign(rest);
  // May have held a password (law 6); nothing of commands is viewed by the effects.
  if (secret_seen_ && fx.upstream.empty()) smtp::wipe(fx.kept_input.back());
  secret_seen_ = false;
}

void Session::after_event(Now now, Effects& fx) {
  if (!finished_ && !blocked() && !pending_.empty() && fx.kept_input.empty()) resume(now, fx);
  if (pending_.empty()) steps_ = 0;
  if (!ledger_.empty() && !owes_replies()) flush_ledger(fx);
  note_upstream_use(now);
  if (finished_) return;
  if (draining_ && !transaction_ && !blocked() && !turn_spent() && ledger_.empty()) {
    bye(421, "4.3.2", "Service is closing, please connect again", metrics::CloseReason::drain, "", now, fx);
    return;
  }
  // The client closed its side: what it had sent before has been carried out by now, unless it is a DATA that
  // waits for the upstream's answer to it.
  const bool data_waits = !pending_.empty() && (early_data_decides() || repeats_envelope());
  if (eof_ && !blocked() && !turn_spent() && ledger_.empty() && !data_waits) {
    close(metrics::CloseReason::client_lost, "", now, fx);
  }
}

void Session::client_eof(Now now, Effects& fx) {
  if (finished_) return;
  eof_ = true;
  // Behind AUTH nothing may be sent before its reply (RFC 4954 section 4): a client that closes now has left.
  if (wait_ == Wait::auth_delay || (wait_ == Wait::auth && pending_.empty())) {
    return close(metrics::CloseReason::client_lost, "", now, fx);
  }
  // What is known is told now: if nobody is there any more, the reset that follows says so.
  flush_ledger(fx);
  if (pending_.empty() && transaction_ && transaction_->upstream == UpstreamState::acquiring) {
    // No message can follow: a connection would be taken from those who have one to send.
    leave_upstream(fx);
    transaction_->upstream_refusal = refusal(451, "4.3.2", "No message follows");
    settle_all_recipients(*transaction_->upstream_refusal, fx);
  }
  after_event(now, fx);
}

void Session::client_lost(Now now, Effects& fx, std::string_view detail) {
  if (finished_) return;
  eof_ = lost_ = true;
  if (holds_auth()) smtp::wipe(pending_);
  pending_.clear();
  // The whole message is with the upstream: its answer decides what happened, and the journal tells.
  if (transaction_ && transaction_->upstream == UpstreamState::ended) return;
  close(metrics::CloseReason::client_lost, detail, now, fx);
}

void Session::tls_established(TlsFacts facts, Now now, Effects& fx) {
  if (finished_) return;
  tls_ = std::make_unique<TlsFacts>(std::move(facts));
  wait_ = Wait::none;
  // RFC 3207 4.2: everything learned before is forgotten.
  pending_.clear();
  helo_.clear();
  extended_ = false;
  forwarded_.reset();
  if (!greeted_) {
    start(now, fx);
  } else {
    arm(Deadline::command, now);
  }
  after_event(now, fx);
}

void Session::wake(Now now, Effects& fx) {
  if (finished_ || wait_ != Wait::auth_delay) return;
  wait_ = Wait::none;
  auth_answer(now, fx);
  after_event(now, fx);
}

void Session::drain(Now now, Effects& fx) {
  if (finished_) return;
  draining_ = true;
  // In a handshake nothing can be said, and no mail is under way.
  if (wait_ == Wait::tls) return close(metrics::CloseReason::drain, "", now, fx);
  if (wait_ == Wait::auth_delay) return wake(now, fx);  // its answer is there: the end waits for no delay
  if (greeted_) after_event(now, fx);
}

void Session::stop(bool at_once, Now now, Effects& fx) {
  if (finished_) return;
  draining_ = true;
  if (!at_once && transaction_ && transaction_->upstream == UpstreamState::ended) return;
  if (wait_ == Wait::tls) return close(metrics::CloseReason::drain, "", now, fx);
  bye(421, "4.3.2", "Service is closing, please connect again", metrics::CloseReason::drain, "", now, fx);
}

// --- input ----------------------------------------------------------------------------------------

bool Session::blocked() const {
  if (finished_ || wait_ != Wait::none) return true;
  if (input_ != Input::data && input_ != Input::chunk) return false;
  // Content waits for the 354 and for replies to chunks, so that what is held stays bounded.
  return content_waits_for_reply();
}

bool Session::content_waits_for_reply() const {
  return transaction_ && !transaction_->refusal &&
         ((transaction_->upstream == UpstreamState::await_354) ||
          (transaction_->content && transaction_->content->chunks_outstanding >= 16));
}

bool Session::wants_client_bytes() const {
  if (finished_ || eof_ || wait_ == Wait::tls || upstream_full_ || turn_spent()) return false;
  if (pending_.size() >= smtp::limits::pending_input_octets) return false;
  return input_ == Input::command || input_ == Input::sasl || !blocked();
}

std::size_t Session::held_octets() const {
  std::size_t octets = pending_.size();
  if (transaction_ && transaction_->content) {
    octets += transaction_->content->held.size() + transaction_->content->header.block().size();
  }
  return octets + ledger_.held_octets();
}

std::string_view Session::consume(std::string_view bytes, Now now, Effects& fx) {
  while (!bytes.empty() && !blocked() && !turn_spent()) {
    std::size_t taken = 0;
    ++steps_;
    switch (input_) {
      case Input::command:
      case Input::sasl:
        taken = consume_line(bytes, now, fx);
        break;
      case Input::data:
        taken = consume_data(bytes, now, fx);
        break;
      case Input::chunk:
        taken = consume_chunk(bytes, now, fx);
        break;
      case Input::discard_chunk:
        taken = discard_chunk(bytes, now, fx);
        break;
    }
    if (taken == 0) break;
    bytes.remove_prefix(taken);
  }
  return bytes;
}

std::size_t Session::consume_line(std::string_view bytes, Now now, Effects& fx) {
  const bool sasl = input_ == Input::sasl;
  const bool response = sasl || smtp::starts_with_ignoring_case(bytes, "AUTH ");
  const smtp::LineResult line =
      smtp::next_line(bytes, response ? smtp::limits::auth_line_octets : smtp::limits::command_line_octets);
  if (line.status == smtp::LineStatus::need_more) return 0;
  if (line.status != smtp::LineStatus::line) {
    line_fault(static_cast<int>(line.status), now, fx);
    return line.consumed;
  }
  if (sasl) {
    sasl_line(line.text, now, fx);
    return line.consumed;
  }
  // Only RCPTs may be on their way to the upstream together; every other command sees all replies
  // before it settled (RFC 2920 3.2 lets a server do that).
  const smtp::Command parsed = smtp::parse_command(line.text);
  command_waits_ = false;
  if (!ledger_.empty()) {
    if (ledger_.size() >= smtp::limits::pipelined_commands) return 0;
    if (parsed.verb != smtp::Verb::rcpt) {
      if (parsed.verb == smtp::Verb::data && parsed.argument.empty()) send_data_early(fx);
      command_waits_ = owes_replies();
      if (command_waits_) return 0;
      flush_ledger(fx);
    }
  }
  if (parsed.verb == smtp::Verb::data && early_data_decides()) return 0;
  command_waits_ = awaits_envelope(parsed, now, fx);
  if (command_waits_) return 0;
  const bool more_follows = bytes.size() > line.consumed;
  // RFC 3207: whatever is in the buffer behind STARTTLS came in the clear and is never executed.
  if (more_follows && parsed.verb == smtp::Verb::starttls) {
    violation(metrics::Violation::starttls_injection);
    bye(parsed.verb, 554, "5.5.1", "Commands must not follow STARTTLS in the clear",
        metrics::CloseReason::policy, "starttls_injection", now, fx);
    return line.consumed;
  }
  ++commands_;
  arm(Deadline::command, now);
  if (std::exchange(data_refused_, false) && parsed.verb == smtp::Verb::unknown) {
    data_behind_refusal(now, fx);
    return line.consumed;
  }
  // A client that sends RCPT behind MAIL does not wait for the reply to MAIL: both go in one write.
  reply_may_wait_ = more_follows && parsed.verb == smtp::Verb::mail;
  command(parsed, now, fx);
  reply_may_wait_ = false;
  data_refused_ = !finished_ && refused_before_its_data(parsed);
  // QUIT ends the session too.
  const bool quits = smtp::starts_with_ignoring_case(bytes.substr(line.consumed), "QUIT\r\n");
  if (data_refused_ && more_follows && !quits) {
    data_behind_refusal(now, fx);
    return line.consumed;
  }
  // Replies are still owed to the client, or would be if it said DATA: the upstream is the one to wait for.
  if (deadline_kind_ == Deadline::command && (owes_replies() || early_data_decides())) {
    arm(Deadline::upstream, now);
  }
  return line.consumed;
}

void Session::line_fault(int status, Now now, Effects& fx) {
  struct Fault {
    metrics::Violation type;
    smtp::Reply reply;
    std::string_view detail;
  };
  const auto fault = [status]() -> Fault {
    switch (static_cast<smtp::LineStatus>(status)) {
      case smtp::LineStatus::bare_lf:
        return {metrics::Violation::bare_lf,
                {554, "5.5.2", "Lines must end with CRLF, not with a bare LF"},
                "bare_lf"};
      case smtp::LineStatus::bare_cr:
        return {metrics::Violation::bare_cr,
                {554, "5.5.2", "Lines must end with CRLF, not with a bare CR"},
                "bare_cr"};
      case smtp::LineStatus::nul:
        return {metrics::Violation::nul, {554, "5.5.2", "NUL is not allowed in commands"}, "nul"};
      default:
        return {metrics::Violation::line_too_long, {500, "5.5.6", "Line too long"}, "line_too_long"};
    }
  }();
  violation(fault.type);
  const policy::Verdict verdict =
      policies_->chain.strict(policy::Stage::command, smtp::Strictness::command_line, fault.reply);
  note_hits(verdict);
  bye(smtp::Verb::unknown, fault.reply.code, fault.reply.enhanced, fault.reply.text,
      metrics::CloseReason::policy, fault.detail, now, fx, policies_->chain.rule_names()[verdict.rule]);
}

// --- replies --------------------------------------------------------------------------------------

void Session::send_reply(ReplyTo to, const smtp::Reply& reply, Effects& fx) {
  const std::size_t before = fx.client.owned().size();
  smtp::append_wire(fx.client.owned(), reply);
  fx.client.appended(before);
  octets_out_ += fx.client.owned().size() - before;
  env_.shard.add<metrics::Metric::replies>(listener_.label, to.verb, metrics::code_index(reply.code));
}

void Session::answer(ReplyTo to, smtp::Reply reply, Effects& fx) {
  if (!transaction_ && !reply.positive() && reply.code >= 400) note_refusal(to, reply);
  if (ledger_.empty() && !reply_may_wait_) {
    send_reply(to, reply, fx);
  } else {
    ledger_.add(to, std::move(reply));
  }
}

// No recipient was accepted and DATA is sent already: most servers refuse it then, and the connection
// stays usable.
bool Session::early_data_decides() const {
  return transaction_ && transaction_->accepted == 0 && transaction_->early_data == EarlyData::sent &&
         transaction_->upstream == UpstreamState::envelope;
}

bool Session::owes_replies() const { return ledger_.has_open(); }

void Session::flush_ledger(Effects& fx) {
  while (const Ledger::Entry* entry = ledger_.front_settled()) {
    send_reply(entry->to, entry->reply, fx);
    ledger_.pop();
  }
}

void Session::say(ReplyTo to, std::uint16_t code, std::string_view enhanced, std::string_view text,
                  Effects& fx) {
  answer(to, {code, std::string(enhanced), std::string(text)}, fx);
}

smtp::Reply Session::signed_refusal(smtp::Reply reply, std::string_view rule) const {
  // One id everywhere: the user reads it to the postmaster, who finds it in the journal.
  reply.text += " (";
  if (!rule.empty()) {
    reply.text += "rule ";
    reply.text += rule;
    reply.text += ", ";
  }
  reply.text += "id ";
  reply.text += transaction_id();
  reply.text += ')';
  return reply;
}

smtp::Reply Session::refusal(std::uint16_t code, std::string_view enhanced, std::string_view text,
                             std::string_view rule) const {
  return signed_refusal({code, std::string(enhanced), std::string(text)}, rule);
}

void Session::refuse(ReplyTo to, std::uint16_t code, std::string_view enhanced, std::string_view text,
                     Effects& fx) {
  ++errors_;
  answer(to, refusal(code, enhanced, text), fx);
}

void Session::refuse_by_rule(ReplyTo to, const policy::Verdict& verdict, Effects& fx) {
  ++errors_;
  answer(to, signed_refusal(verdict.reply, policies_->chain.rule_names()[verdict.rule]), fx);
}

void Session::violation(metrics::Violation type) {
  env_.shard.add<metrics::Metric::protocol_violations>(type);
}

// --- the end --------------------------------------------------------------------------------------

void Session::bye(std::uint16_t code, std::string_view enhanced, std::string_view text,
                  metrics::CloseReason reason, std::string_view detail, Now now, Effects& fx) {
  bye(metrics::ReplyVerb::unasked, code, enhanced, text, reason, detail, now, fx);
}

void Session::bye(ReplyTo to, std::uint16_t code, std::string_view enhanced, std::string_view text,
                  metrics::CloseReason reason, std::string_view detail, Now now, Effects& fx,
                  std::string_view rule) {
  if (finished_) return;
  // What is still owed can not be answered in time any more: in its place comes the same farewell, so
  // that no command goes without its one reply.
  const smtp::Reply farewell = reason == metrics::CloseReason::quit
                                   ? smtp::Reply{code, std::string(enhanced), std::string(text)}
                                   : refusal(code, enhanced, text, rule);
  const bool owed = owes_replies();
  while (ledger_.has_open()) ledger_.settle(farewell);
  flush_ledger(fx);
  if (!owed) send_reply(to, farewell, fx);
  if (!transaction_ && code >= 400) note_refusal(to, farewell);
  close(reason, detail, now, fx);
}

void Session::close(metrics::CloseReason reason, std::string_view detail, Now now, Effects& fx) {
  if (finished_) return;
  if (transaction_) {
    leave_upstream(fx);
    end_transaction(metrics::MessageResult::aborted, nullptr, now, fx);
  }
  finished_ = true;
  lingers_ = reason != metrics::CloseReason::quit && reason != metrics::CloseReason::client_lost;
  fx.close_client = true;
  pending_.clear();
  sasl_.reset();
  write_session(reason, detail, now);
}

}  // namespace portcullis::session
