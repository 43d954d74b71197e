// The message from the client: DATA and BDAT, header held and judged, body scanned while it streams.
#include <algorithm>
#include <utility>

#include "proxy/session/message_size.h"
#include "proxy/session/session.h"
#include "smtp/limits.h"

namespace portcullis::session {

namespace {

// How much of a refused message is read to its end before the session is closed instead.
constexpr std::uint64_t swallow_octets = 64ULL * 1024 * 1024;

// Chunks below this, other than the last, bring a message no nearer: they count as commands without mail.
constexpr std::uint64_t small_chunk_octets = 1024;

}  // namespace

bool Session::begin_content(bool bdat, smtp::Verb verb, Now now, Effects& fx) {
  if (!account_stands(false, now, fx)) return false;
  Transaction& t = *transaction_;
  if (t.upstream_refusal && t.upstream == UpstreamState::gone) {
    answer(verb, *t.upstream_refusal, fx);
    return false;
  }
  if (t.accepted == 0) {
    give_up_early_data(fx);
    refuse(verb, 554, "5.5.1", "No valid recipients", fx);
    return false;
  }
  t.content.emplace(listener_.settings.bare_lf, listener_.settings.limits.header_octets);
  t.content->bdat = bdat;
  t.content_started_ms = now.mono_ms;
  commands_without_mail_ = 0;
  env_.shard.observe<metrics::Metric::transaction_phase_duration>(
      metrics::Phase::envelope, static_cast<double>(now.mono_ms - t.started_ms) / 1000);
  return true;
}

void Session::data(std::string_view argument, Now now, Effects& fx) {
  const smtp::Verb verb = smtp::Verb::data;
  if (!argument.empty()) return refuse(verb, 501, "5.5.4", "DATA takes no parameter", fx);
  if (!transaction_ || transaction_->content) {
    if (transaction_ || !mail_refused_) violation(metrics::Violation::bad_sequence);
    return refuse(verb, 503, "5.5.1", transaction_ ? "BDAT has begun" : "Send MAIL and RCPT first", fx);
  }
  if (!begin_content(false, verb, now, fx)) return;
  input_ = Input::data;
  arm(Deadline::content, now);
  answer(verb, {354, {}, "End data with <CR><LF>.<CR><LF>"}, fx);
}

void Session::bdat(std::string_view argument, Now now, Effects& fx) {
  const smtp::Verb verb = smtp::Verb::bdat;
  const std::optional<smtp::BdatArgument> chunk = smtp::parse_bdat_argument(argument);
  const std::uint64_t most = listener_.settings.limits.message_octets + swallow_octets;
  if (!chunk || chunk->size_octets > most) {
    // Where the chunk ends is unknown (or absurd): what follows can not be told from commands.
    ++errors_;
    return bye(verb, chunk ? 552 : 501, chunk ? "5.3.4" : "5.5.4",
               chunk ? "Chunk is too large" : "Bad BDAT parameter", metrics::CloseReason::policy, "bdat", now,
               fx);
  }
  // RFC 3030 section 2: the announced octets are read before an error is told.
  const auto discard = [&](std::uint16_t code, std::string_view text) {
    // A pipelining client sends it behind a MAIL or RCPTs that were refused.
    if (!transaction_ && !mail_refused_) violation(metrics::Violation::bad_sequence);
    discard_left_ = chunk->size_octets;
    discarded_ = 0;
    discard_started_ms_ = now.mono_ms;
    discard_reply_ = refusal(code, "5.5.1", text);
    ++errors_;
    input_ = Input::discard_chunk;
    arm(Deadline::content, now);
    if (discard_left_ == 0) discard_chunk({}, now, fx);
  };
  if (!transaction_) return discard(503, "Send MAIL and RCPT first");
  if (!transaction_->content) {
    if (transaction_->accepted == 0) return discard(554, "No valid recipients");
    if (!begin_content(true, verb, now, fx)) {
      if (finished_) return;
      return bye(421, "4.4.2", "The mail server behind was lost", metrics::CloseReason::upstream, "", now,
                 fx);
    }
  }
  if (!chunk->last && chunk->size_octets < small_chunk_octets &&
      ++commands_without_mail_ > listener_.settings.limits.commands_without_mail) {
    return bye(421, "4.7.0", "Too many small chunks", metrics::CloseReason::policy, "small_chunks", now, fx);
  }
  transaction_->content->chunk_left = chunk->size_octets;
  transaction_->content->chunk_last = chunk->last;
  input_ = Input::chunk;
  arm(Deadline::content, now);
  env_.staged.clear();
  if (chunk->size_octets == 0) chunk_complete(now, fx);
}

std::size_t Session::discard_chunk(std::string_view bytes, Now now, Effects& fx) {
  const std::size_t taken = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), discard_left_));
  discard_left_ -= taken;
  discarded_ += taken;
  if (discard_left_ == 0) {
    input_ = Input::command;
    answer(smtp::Verb::bdat, std::move(discard_reply_), fx);
  }
  arm(discard_left_ == 0 ? Deadline::command : Deadline::content, now);
  return taken;
}

std::size_t Session::consume_data(std::string_view bytes, Now now, Effects& fx) {
  Content& c = *transaction_->content;
  env_.content.clear();
  const std::size_t taken = c.reader.feed(bytes, env_.content);
  take_content(env_.content, now, fx);
  if (transaction_->refusal) c.swallowed += taken;
  if (c.reader.fault() != smtp::BodyFault::none) content_fault(c.reader.fault(), now, fx);
  if (c.reader.done()) {
    // Who sends CR CR LF . CR LF, or a NUL, may mean the message to go on: then what follows is no
    // command of theirs. Nobody can tell, so the refusal is the last word.
    const bool doubtful =
        c.reader.fault() == smtp::BodyFault::bare_cr || c.reader.fault() == smtp::BodyFault::nul;
    content_complete(now, fx);
    if (doubtful) close(metrics::CloseReason::policy, "doubtful_end_of_data", now, fx);
  } else if (c.swallowed > swallow_octets) {
    bye(transaction_->refusal->code, transaction_->refusal->enhanced, transaction_->refusal->text,
        metrics::CloseReason::policy, "endless_content", now, fx);
  } else {
    arm(Deadline::content, now);
  }
  return taken;
}

std::size_t Session::consume_chunk(std::string_view bytes, Now now, Effects& fx) {
  Content& c = *transaction_->content;
  const std::size_t taken = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), c.chunk_left));
  env_.content.clear();
  c.scanner.feed(bytes.substr(0, taken), env_.content);
  c.chunk_left -= taken;
  take_content(env_.content, now, fx);
  if (transaction_->refusal) c.swallowed += taken;
  if (c.scanner.fault() != smtp::BodyFault::none) content_fault(c.scanner.fault(), now, fx);
  arm(Deadline::content, now);
  if (c.chunk_left == 0) chunk_complete(now, fx);
  return taken;
}

void Session::chunk_complete(Now now, Effects& fx) {
  Content& c = *transaction_->content;
  input_ = Input::command;
  arm(Deadline::command, now);
  if (c.chunk_last) {
    c.scanner.finish();
    if (c.scanner.fault() != smtp::BodyFault::none) content_fault(c.scanner.fault(), now, fx);
    return content_complete(now, fx);
  }
  if (transaction_->refusal) {
    const smtp::Reply reply = *transaction_->refusal;
    return final_reply(
        reply, reply.permanent() ? metrics::MessageResult::rejected : metrics::MessageResult::deferred, now,
        fx);
  }
  say(smtp::Verb::bdat, 250, "2.0.0", "Chunk received", fx);
}

void Session::take_content(smtp::Slices& slices, Now now, Effects& fx) {
  Transaction& t = *transaction_;
  Content& c = *t.content;
  env_.staged.clear();
  const std::uint64_t allowed = listener_.settings.limits.message_octets;
  for (std::string_view slice : slices) {
    if (t.refusal) break;
    c.octets += slice.size();
    if (c.octets > allowed) {
      refuse_message(refusal(552, "5.3.4", "Message is larger than this server accepts"), {}, fx);
      break;
    }
    if (exceeds_upstream_size()) {
      refuse_too_large_for_upstream(fx);
      break;
    }
    if (!c.header_done) {
      slice.remove_prefix(c.header.feed(slice));
      if (c.header.too_large()) {
        tolerated(policy::Stage::header, smtp::Strictness::header_limit,
                  {552, "5.3.4", "Message header is too large"}, fx);
        break;
      }
      if (!c.header.complete()) continue;
      header_complete(now, fx);
    }
    if (slice.empty() || t.refusal) continue;
    c.mime.feed(slice);
    env_.staged.push_back(slice);
  }
  if (t.refusal || !c.header_done) return;
  judge_eight_bit(fx);
  if (t.refusal) return;
  if (!c.size_judged && c.octets > policies_->chain.message_octets_allowed(client_facts())) {
    // Too large already, whatever is still to come: the upstream need not see the rest.
    c.size_judged = true;
    policy::ChargeList none;
    const policy::Verdict verdict = judge(metrics::Stage::message, [&] {
      return policies_->chain.message(client_facts(), transaction_facts(), {c.octets, {}}, wall_seconds(now),
                                      none);
    });
    if (!passed(verdict, fx)) return;
  }
  const bool at_end = c.bdat ? (c.chunk_last && c.chunk_left == 0) : c.reader.done();
  // The last piece waits, staged, for the last verdict: content_complete() comes next.
  if (!at_end) push_content(false, fx);
}

// Counted exactly: what comes from the client and what the gateway has added (RFC 1870 section 6.1). The
// server refuses such a message anyway, but many servers do so by hanging up in the middle of it.
bool Session::exceeds_upstream_size() const {
  if (link_ == nullptr) return false;
  const std::uint64_t limit = size_limit(link_->extensions());
  return limit != 0 && transaction_->content->octets + transaction_->content->added_octets > limit;
}

void Session::refuse_too_large_for_upstream(Effects& fx) {
  refuse_message(refusal(552, "5.3.4", "Message is larger than the destination mail server accepts"), {}, fx);
}

void Session::judge_eight_bit(Effects& fx) {
  const Content& c = *transaction_->content;
  const bool eight_bit = c.bdat ? c.scanner.saw_eight_bit() : c.reader.saw_eight_bit();
  if (!eight_bit || link_ == nullptr || link_->extensions().eight_bit_mime ||
      listener_.upstream.assume_eight_bit) {
    return;
  }
  // Converting would break signatures; sending it anyway would break the message. A client that relied
  // on our offer hears a truer one next time, and may convert.
  refuse_message(
      offered().eight_bit_mime
          ? refusal(451, "4.6.3", "The mail server behind takes no 8-bit content now")
          : refusal(554, "5.6.3", "Message has 8-bit content and the mail server behind takes none"),
      {}, fx);
}

void Session::content_fault(smtp::BodyFault fault, Now, Effects& fx) {
  if (transaction_->refusal) return;
  const auto found = [&](metrics::Violation type, smtp::Strictness rule, const char* text) {
    violation(type);
    tolerated(policy::Stage::message, rule, {550, "5.6.0", text}, fx);
  };
  switch (fault) {
    case smtp::BodyFault::bare_lf:
      return found(metrics::Violation::bare_lf, smtp::Strictness::message_bare_lf,
                   "Message has a line that ends with a bare LF");
    case smtp::BodyFault::bare_cr:
      return found(metrics::Violation::bare_cr, smtp::Strictness::message_bare_cr, "Message has a bare CR");
    case smtp::BodyFault::nul:
      return found(metrics::Violation::nul, smtp::Strictness::message_nul, "Message has a NUL octet");
    case smtp::BodyFault::none:
      return;
  }
}

bool Session::passed(const policy::Verdict& verdict, Effects& fx) {
  note_hits(verdict);
  if (verdict.action == policy::Action::accept) return true;
  const std::string& rule = policies_->chain.rule_names()[verdict.rule];
  refuse_message(signed_refusal(verdict.reply, rule), rule, fx);
  return false;
}

smtp::HeaderReport Session::read_header() const {
  const Transaction& t = *transaction_;
  const bool notice = t.reverse_path.null && account_ == nullptr;
  return smtp::parse_header(t.content->header.block(), {.smtputf8 = t.mail.smtputf8, .notice = notice});
}

void Session::header_complete(Now now, Effects& fx) {
  Transaction& t = *transaction_;
  Content& c = *t.content;
  c.header_done = true;
  smtp::HeaderReport header = read_header();
  c.facts = std::move(header.facts);
  for (const smtp::HeaderFinding& finding : header.findings) {
    const smtp::Reply reply = {550, "5.6.0",
                               "Message header refused: " + finding.field + ": " + finding.reason};
    if (!tolerated(policy::Stage::header, finding.rule, reply, fx)) return;
  }
  if (c.facts.received_fields > policies_->config.received_fields_max &&
      !tolerated(policy::Stage::header, smtp::Strictness::received_loop,
                 {554, "5.4.6", "Too many Received fields: the message is looping"}, fx)) {
    return;
  }
  const policy::Verdict verdict = judge(metrics::Stage::header, [&] {
    return policies_->chain.header(client_facts(), transaction_facts(), c.facts, wall_seconds(now));
  });
  if (!passed(verdict, fx)) return;
  c.mime.begin(c.facts.content_type, c.facts.content_disposition, c.facts.content_transfer_encoding);
  begin_message(now, fx);
}

void Session::content_complete(Now now, Effects& fx) {
  if (!account_stands(false, now, fx)) return;
  Transaction& t = *transaction_;
  Content& c = *t.content;
  input_ = Input::command;
  c.complete = true;
  env_.shard.observe<metrics::Metric::transaction_phase_duration>(
      metrics::Phase::data, static_cast<double>(now.mono_ms - t.content_started_ms) / 1000);
  if (!t.refusal && !c.header_done) {
    // All of it is header: nothing has looked at its octets yet.
    header_complete(now, fx);
    if (!t.refusal) judge_eight_bit(fx);
  }
  if (!t.refusal) {
    c.mime_facts = c.mime.finish();
    c.mime_facts.limit_exceeded |= c.facts.ambiguous_content;
    const policy::Verdict verdict = judge(metrics::Stage::message, [&] {
      return policies_->chain.message(client_facts(), transaction_facts(), {c.octets, c.mime_facts},
                                      wall_seconds(now), t.charges);
    });
    passed(verdict, fx);
  }
  if (t.refusal) {
    const smtp::Reply reply = *t.refusal;
    return final_reply(
        reply, reply.permanent() ? metrics::MessageResult::rejected : metrics::MessageResult::deferred, now,
        fx);
  }
  wait_ = Wait::upstream_reply;
  end_message(now, fx);
}

void Session::refuse_message(smtp::Reply reply, std::string_view rule, Effects& fx) {
  Transaction& t = *transaction_;
  if (t.refusal) return;
  t.refusal = std::move(reply);
  t.rule = rule;
  // What came of the header goes into the journal.
  if (!std::exchange(t.content->header_done, true)) t.content->facts = read_header().facts;
  t.content->header.release();
  t.content->held.clear();
  t.content->held.shrink_to_fit();
  leave_upstream(fx);
}

}  // namespace portcullis::session
