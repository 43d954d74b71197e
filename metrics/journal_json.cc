// The lines of the journal. Every field is a row of docs/journal.md, in this order; a test compares.
#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "metrics/digits.h"
#include "metrics/journal.h"
#include "metrics/json.h"

namespace portcullis::metrics {
namespace {

// A line has a bound whatever the records hold.
constexpr std::size_t markup_octets = 160;  // keys and numbers of a recipient, and the room they ask for
constexpr std::size_t hits_max = 100;
constexpr std::size_t hits_octets_max = std::size_t{6} * 1024;  // the last one may exceed it
constexpr std::size_t fields_max = 50;
constexpr std::size_t fields_octets_max = std::size_t{36} * 1024;  // likewise

// RFC 3339 in UTC with milliseconds: 2026-11-21T17:45:03.250Z
void append_time(JsonObject& line, TextBuffer& out, JournalTime time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const auto year = static_cast<unsigned>(std::clamp(static_cast<int>(date.year()), 0, 9999));
  const auto ms = static_cast<unsigned>(floor<milliseconds>(time - day).count());
  const unsigned seconds = ms / 1000, minutes = seconds / 60;
  line.key<"time">();
  char* at = out.room(sizeof R"("2026-11-21T17:45:03.250Z")");
  *at++ = '"';
  at = write_two_digits(at, year / 100);
  at = write_two_digits(at, year % 100);
  *at++ = '-';
  at = write_two_digits(at, static_cast<unsigned>(date.month()));
  *at++ = '-';
  at = write_two_digits(at, static_cast<unsigned>(date.day()));
  *at++ = 'T';
  at = write_two_digits(at, minutes / 60);
  *at++ = ':';
  at = write_two_digits(at, minutes % 60);
  *at++ = ':';
  at = write_two_digits(at, seconds % 60);
  *at++ = '.';
  at = write_two_digits(at, ms % 1000 / 10);
  at = write_digit(at, ms % 10);
  *at++ = 'Z';
  *at++ = '"';
  out.end_at(at);
}

void append_peer(JsonObject& line, const PeerRecord& peer) {
  line.text<"client">(peer.client);
  if (peer.client_port != 0) line.number<"client_port">(peer.client_port);
  line.text<"via">(peer.via);
  line.text<"listener">(peer.listener);
  line.text<"helo">(peer.helo);
  line.text<"tls_version">(peer.tls_version);
  line.text<"tls_cipher">(peer.tls_cipher);
  line.text<"tls_client_subject">(peer.tls_client_subject);
  line.text<"login">(peer.login);
  line.text<"mechanism">(peer.mechanism);
  line.text<"backend">(peer.backend);
}

// `objects`: JSON, commas between them.
template <JsonKey Key>
void append_list(JsonObject& line, TextBuffer& out, std::string_view objects) {
  if (objects.empty()) return;
  line.key<Key>();
  out.append('[');
  out.append(objects);
  out.append(']');
}

void append_hits(JsonObject& line, TextBuffer& out, const std::vector<HitRecord>& hits) {
  if (hits.empty()) return;
  line.key<"hits">();
  char before = '[';
  const std::size_t begin = out.size();
  for (const HitRecord& hit : std::span(hits).first(std::min(hits.size(), hits_max))) {
    if (out.size() - begin > hits_octets_max) break;
    out.append(std::exchange(before, ','));
    JsonObject object(out);
    object.text<"rule">(hit.rule);
    object.text<"stage">(hit.stage);
    object.text<"action">(hit.action);
    object.text<"mode">(hit.mode);
    object.text<"check">(hit.check);
    object.text<"identity">(hit.identity);
    object.close();
  }
  out.append(']');
}

template <JsonKey Key>
void append_code(JsonObject& line, std::uint16_t code) {
  if (code != 0) line.number<Key>(code);
}

std::string_view name_of(EventRecord::Level level) {
  switch (level) {
    case EventRecord::Level::debug:
      return "debug";
    case EventRecord::Level::info:
      return "info";
    case EventRecord::Level::warning:
      return "warning";
    case EventRecord::Level::error:
      return "error";
  }
  return "error";
}

}  // namespace

void RecipientRecords::add(std::string_view recipient, std::uint16_t code, const ReplyText& reply,
                           std::string_view rule) {
  if (full()) return;
  const std::size_t before = json_.size();
  if (!empty()) json_.append(',');
  // Asked for at once: one allocation is enough for most transactions.
  json_.room(recipient.size() + reply.enhanced.size() + reply.text.size() + rule.size() + markup_octets);
  JsonObject object(json_);
  object.text<"recipient">(recipient);
  append_code<"code">(object, code);
  object.text<"reply">(reply.enhanced, reply.text);
  object.text<"rule">(rule);
  object.close();
  full_ = json_.size() > octets_max;
  if (full_) {
    json_.cut_to(before);
  } else {
    ++size_;
  }
}

void RefusalRecords::add(std::string_view command, std::uint16_t code, const ReplyText& reply) {
  if (full()) return;
  if (size_++ > 0) json_.append(',');
  JsonObject object(json_);
  object.text<"command">(command);
  append_code<"code">(object, code);
  object.text<"reply">(reply.enhanced, reply.text);
  object.close();
}

void append_json(TextBuffer& out, const TransactionRecord& record) {
  JsonObject line(out);
  append_time(line, out, record.time);
  line.text<"type">("transaction");
  line.text<"id">(record.id);
  append_peer(line, record.peer);
  line.text<"forwarded_client">(record.forwarded_client);
  line.text<"forwarded_helo">(record.forwarded_helo);
  line.text<"forwarded_id">(record.forwarded_id);
  line.text<"result">(record.result);
  line.text_or_empty<"reverse_path">(record.reverse_path);  // empty: the null reverse-path
  append_list<"recipients">(line, out, record.recipients);
  line.number<"recipients_total">(record.recipients_total);
  line.number<"recipients_accepted">(record.recipients_accepted);
  line.text<"header_from">(record.header_from);
  line.text<"message_id">(record.message_id);
  line.text<"subject">(record.subject);
  line.number<"octets">(record.octets);
  line.number<"attachments">(record.attachments);
  line.number<"parts">(record.parts);
  if (record.removed_fields > 0) line.number<"removed_fields">(record.removed_fields);
  append_hits(line, out, record.hits);
  line.text<"rule">(record.rule);
  append_code<"code">(line, record.code);
  line.text<"reply">(record.reply.enhanced, record.reply.text);
  line.text<"upstream">(record.upstream);
  append_code<"upstream_code">(line, record.upstream_code);
  line.text<"upstream_reply">(record.upstream_reply);
  line.text<"queue_id">(record.queue_id);
  line.seconds<"duration_seconds">(record.duration_seconds);
  line.seconds<"upstream_reply_seconds">(record.upstream_reply_seconds);
  line.close();
  out.append('\n');
}

void append_json(TextBuffer& out, const SessionRecord& record) {
  JsonObject line(out);
  append_time(line, out, record.time);
  line.text<"type">("session");
  line.text<"id">(record.id);
  append_peer(line, record.peer);
  line.text<"reason">(record.reason);
  line.text<"detail">(record.detail);
  line.number<"transactions">(record.transactions);
  line.number<"messages_accepted">(record.messages_accepted);
  line.number<"octets_in">(record.octets_in);
  line.number<"octets_out">(record.octets_out);
  line.number<"commands">(record.commands);
  line.number<"auth_failures">(record.auth_failures);
  append_list<"refusals">(line, out, record.refusals);
  line.number<"refusals_total">(record.refusals_total);
  line.seconds<"duration_seconds">(record.duration_seconds);
  line.close();
  out.append('\n');
}

void append_json(TextBuffer& out, const EventRecord& record) {
  JsonObject line(out);
  append_time(line, out, record.time);
  line.text<"type">("event");
  line.text<"level">(name_of(record.level));
  line.text<"event">(record.event);
  line.text<"session">(record.session);
  if (!record.fields.empty()) {
    line.key<"fields">();
    JsonObject fields(out);
    const std::size_t begin = out.size();
    std::size_t kept = 0;
    while (kept < std::min(record.fields.size(), fields_max) && out.size() - begin <= fields_octets_max) {
      fields.pair(record.fields[kept].first, record.fields[kept].second);
      ++kept;
    }
    if (kept < record.fields.size()) {
      fields.pair("fields_left_out", std::to_string(record.fields.size() - kept));
    }
    fields.close();
  }
  line.text<"message">(record.message);
  line.close();
  out.append('\n');
}

}  // namespace portcullis::metrics
