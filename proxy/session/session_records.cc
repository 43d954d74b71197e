// What a session leaves behind: journal records and counters.
#include <array>
#include <utility>

#include "proxy/session/queue_id.h"
#include "proxy/session/session.h"
#include "smtp/limits.h"

namespace portcullis::session {

namespace {

constexpr std::size_t recorded_hits = 100;
constexpr std::array<std::string_view, 4> result_names = {"accepted", "rejected", "deferred", "aborted"};
constexpr std::array<std::string_view, 6> close_names = {"quit",   "client_lost", "timeout",
                                                         "policy", "upstream",    "drain"};

metrics::ReplyText text_of(const smtp::Reply& reply) { return {reply.enhanced, reply.text}; }

double seconds_since(std::int64_t start_ms, Now now) {
  return static_cast<double>(now.mono_ms - start_ms) / 1000;
}

}  // namespace

metrics::PeerRecord Session::peer_record(AddressText& address) const {
  metrics::PeerRecord peer;
  peer.client = policy::format_ip(client_, address);
  peer.client_port = client_port_;
  peer.via = via_;
  peer.listener = listener_.settings.name;
  peer.helo = helo_;
  if (const TlsFacts* const tls = client_tls()) {
    peer.tls_version = tls->version;
    peer.tls_cipher = tls->cipher;
    peer.tls_client_subject = tls->client_subject;
  }
  if (account_) {
    peer.login = account_->login;
    peer.mechanism = mechanism_;
    peer.backend = account_->backend;
  }
  return peer;
}

void Session::note_recipient(std::string_view recipient, const smtp::Reply& reply, std::string_view rule) {
  using metrics::RecipientResult;
  env_.shard.add<metrics::Metric::recipients>(reply.positive()    ? RecipientResult::accepted
                                              : reply.permanent() ? RecipientResult::rejected
                                                                  : RecipientResult::deferred);
  Transaction& t = *transaction_;
  if (t.recipient_records.full()) return;
  t.recipient_records.add(recipient, reply.code, text_of(reply), rule);
  if (reply.positive()) return;
  t.refused_recipients.for_good = t.refused_recipients.for_good && reply.permanent();
  t.refused_recipients.reply = reply;
  t.refused_recipients.rule = rule;
}

void Session::note_upstream_reply(const smtp::Reply& reply) {
  transaction_->upstream_code = reply.code;
  transaction_->upstream_reply = smtp::cleaned_text(reply.text, smtp::limits::relayed_reply_text_octets);
}

void Session::note_hits(const policy::Verdict& verdict) {
  for (const policy::Hit& hit : verdict.hits) {
    const auto mode = metrics::Mode{static_cast<std::uint8_t>(hit.mode)};
    const RuleLabels& labels = policies_->rule_labels[hit.rule];
    if (labels.is_rate) env_.shard.add<metrics::Metric::rate_limit_exceeded>(labels.limit, labels.unit, mode);
    env_.shard.add<metrics::Metric::policy_decisions>(labels.rule, hit.stage,
                                                      metrics::action_index(hit.action), mode);
    if (hit.spoof != policy::SpoofCheck::none) {
      env_.shard.add<metrics::Metric::spoof_detections>(metrics::spoof_index(hit.spoof), mode);
    }
    if (transaction_ && transaction_->hits.size() < recorded_hits) transaction_->hits.push_back(hit);
  }
}

void Session::end_transaction(metrics::MessageResult result, const smtp::Reply* reply, Now now, Effects&) {
  // Taken out first: whatever happens below, the transaction is over.
  const std::unique_ptr<Transaction> t = std::move(transaction_);
  const std::unique_ptr<smtp::XAttributes> forwarded = std::move(forwarded_);
  // A client that gives up because no recipient was left was refused, it did not abort.
  const RefusedRecipients& refused = t->refused_recipients;
  const bool nobody_left = result == metrics::MessageResult::aborted && !t->content && t->accepted == 0 &&
                           !t->recipient_records.empty();
  if (nobody_left) {
    result = refused.for_good ? metrics::MessageResult::rejected : metrics::MessageResult::deferred;
  }
  const bool accepted = result == metrics::MessageResult::accepted;
  policies_->chain.settle(t->charges, accepted, wall_seconds(now));
  client_recipients_ += t->accepted;
  if (accepted) ++messages_accepted_;
  if (accepted) ++client_messages_;
  lone_recipients_ = t->content && t->recipients.size() == 1 ? lone_recipients_ + 1 : 0;
  if (t->content) count_message(*t, result, now);
  const FinalReply told = nobody_left ? FinalReply{&refused.reply, refused.rule} : FinalReply{reply, t->rule};
  write_transaction(*t, forwarded.get(), result, told, now);
}

void Session::count_message(const Transaction& t, metrics::MessageResult result, Now now) {
  const Content& c = *t.content;
  env_.shard.add<metrics::Metric::messages>(listener_.label, result);
  if (c.complete) {
    env_.shard.observe<metrics::Metric::message_size>(static_cast<double>(c.octets));
    env_.shard.observe<metrics::Metric::message_recipients>(static_cast<double>(t.accepted));
    env_.shard.observe<metrics::Metric::message_attachments>(static_cast<double>(c.mime_facts.attachments));
  }
  if (t.ended_ms != 0) {
    env_.shard.observe<metrics::Metric::transaction_phase_duration>(metrics::Phase::upstream_reply,
                                                                    seconds_since(t.ended_ms, now));
  }
}

void Session::write_transaction(const Transaction& t, const smtp::XAttributes* forwarded,
                                metrics::MessageResult result, const FinalReply& told, Now now) {
  metrics::TransactionRecord record;
  record.time = now.wall;
  const std::string id = id_ + '.' + std::to_string(t.number);
  record.id = id;
  AddressText address;
  record.peer = peer_record(address);
  if (forwarded != nullptr) {
    record.forwarded_client = forwarded->addr;
    record.forwarded_helo = forwarded->helo;
    record.forwarded_id = forwarded->ident;
  }
  record.result = result_names[static_cast<std::size_t>(result)];
  const std::string reverse_path = !t.reverse_path_text.empty() ? t.reverse_path_text
                                   : t.reverse_path.null        ? "<>"
                                                                : smtp::to_string(t.reverse_path.mailbox);
  record.reverse_path = reverse_path;
  record.recipients = t.recipient_records.json();
  record.recipients_total = t.accepted + t.refused;
  record.recipients_accepted = t.accepted;
  if (t.content) {
    const Content& c = *t.content;
    record.header_from = c.facts.from_text;
    record.message_id = c.facts.message_id;
    if (env_.config.journal.subject) record.subject = c.facts.subject;
    record.octets = c.octets;
    record.attachments = c.mime_facts.attachments;
    record.parts = c.mime_facts.parts;
    record.removed_fields = t.removed_fields;
    if (t.ended_ms != 0) record.upstream_reply_seconds = seconds_since(t.ended_ms, now);
  }
  for (const policy::Hit& hit : t.hits) {
    record.hits.push_back(
        {policies_->chain.rule_names()[hit.rule], policy::name_of(hit.stage), policy::name_of(hit.action),
         policy::name_of(hit.mode),
         hit.spoof == policy::SpoofCheck::none ? std::string_view() : policy::name_of(hit.spoof),
         hit.identity});
  }
  record.rule = told.rule;
  if (told.reply != nullptr) {
    record.code = told.reply->code;
    record.reply = text_of(*told.reply);
  }
  record.upstream = t.upstream_name;
  record.upstream_code = t.upstream_code;
  record.upstream_reply = t.upstream_reply;
  const bool accepted = result == metrics::MessageResult::accepted;
  const std::string id_there = accepted ? queue_id(t.upstream_reply) : std::string();
  record.queue_id = id_there;
  record.duration_seconds = seconds_since(t.started_ms, now);
  env_.journal.write(record);
}

void Session::note_refusal(ReplyTo to, const smtp::Reply& reply) {
  ++refusals_total_;
  if (!refusals_) refusals_ = std::make_unique<metrics::RefusalRecords>();
  if (refusals_->full()) return;
  refusals_->add(metrics::reply_verb_values[static_cast<std::size_t>(to.verb)], reply.code, text_of(reply));
}

// A load balancer looks whether the listener answers: it connects, may say EHLO and QUIT, and leaves. Several
// times a second that would be most of the journal.
bool Session::only_a_probe(metrics::CloseReason reason, std::string_view detail) const {
  return may_be_probe_ && via_.empty() && detail.empty() && transactions_ == 0 && refusals_total_ == 0 &&
         auth_failures_ == 0 && !account_ &&
         (reason == metrics::CloseReason::quit || reason == metrics::CloseReason::client_lost);
}

void Session::write_session(metrics::CloseReason reason, std::string_view detail, Now now) {
  env_.shard.add<metrics::Metric::sessions_closed>(listener_.label, reason);
  env_.shard.add<metrics::Metric::client_bytes>(listener_.label, metrics::Direction::in, octets_in_);
  env_.shard.add<metrics::Metric::client_bytes>(listener_.label, metrics::Direction::out, octets_out_);
  metrics::SessionRecord record;
  record.time = now.wall;
  record.id = id_;
  AddressText address;
  record.peer = peer_record(address);
  record.reason = close_names[static_cast<std::size_t>(reason)];
  record.detail = detail;
  record.transactions = transactions_;
  record.messages_accepted = messages_accepted_;
  record.octets_in = octets_in_;
  record.octets_out = octets_out_;
  record.commands = commands_;
  record.auth_failures = auth_failures_;
  if (refusals_) record.refusals = refusals_->json();
  record.refusals_total = refusals_total_;
  record.duration_seconds = seconds_since(started_ms_, now);
  env_.shard.observe<metrics::Metric::session_duration>(listener_.label, record.duration_seconds);
  if (only_a_probe(reason, detail)) {
    env_.shard.add<metrics::Metric::probe_sessions>(listener_.label);
    if (env_.config.journal.level > metrics::EventRecord::Level::debug) return;
  }
  env_.journal.write(record);
}

}  // namespace portcullis::session
