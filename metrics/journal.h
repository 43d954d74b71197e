// The journal: one JSON line per session, per transaction and per notable event, written by a thread
// of its own from bounded queues, so that a slow disk never holds a loop up (law 8). A line can not be
// forged or broken by what a peer sends: values are JSON strings, every control character, bidi
// control and invalid octet escaped or replaced. docs/journal.md lists every field.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metrics/text_buffer.h"

namespace portcullis::metrics {

using JournalTime = std::chrono::system_clock::time_point;

// The texts of a record belong to whoever writes it: write() is done with them when it returns. Only those of
// events are the record's own.
struct PeerRecord {
  std::string_view client;  // address
  std::uint16_t client_port = 0;
  std::string_view via;  // address of the trusted proxy that named the client, or empty
  std::string_view listener;
  std::string_view helo;
  std::string_view tls_version;  // "TLSv1.3", empty: none
  std::string_view tls_cipher;
  std::string_view tls_client_subject;
  std::string_view login;
  std::string_view mechanism;
  std::string_view backend;  // that vouched for the login
};

struct ReplyText {
  std::string_view enhanced;  // code, or empty
  std::string_view text;
};

// What is recorded of the recipients of a transaction: the first 100, and no more than fit into `octets_max`.
// Each is written down when it is answered, so that nothing of it need be kept for the record.
class RecipientRecords {
 public:
  static constexpr std::size_t recipients_max = 100;
  static constexpr std::size_t octets_max = std::size_t{20} * 1024;

  // `reply`: as the client got it. `rule`: ours, when a rule refused the recipient.
  void add(std::string_view recipient, std::uint16_t code, const ReplyText& reply, std::string_view rule);
  bool empty() const { return size_ == 0; }
  bool full() const { return full_ || size_ == recipients_max; }
  std::string_view json() const { return json_.view(); }  // the objects, commas between them

 private:
  TextBuffer json_;
  std::size_t size_ = 0;
  bool full_ = false;  // one did not fit
};

// Commands that were refused outside of a transaction: the first five of a session, each written down when it
// is answered.
class RefusalRecords {
 public:
  static constexpr std::size_t refusals_max = 5;

  void add(std::string_view command, std::uint16_t code, const ReplyText& reply);
  bool full() const { return size_ == refusals_max; }
  std::string_view json() const { return json_.view(); }  // the objects, commas between them

 private:
  TextBuffer json_;
  std::size_t size_ = 0;
};

struct HitRecord {
  std::string_view rule;
  std::string_view stage;
  std::string_view action;
  std::string_view mode;
  std::string_view check = {};     // spoofing check that fired, or empty
  std::string_view identity = {};  // the address that failed it
};

struct TransactionRecord {
  JournalTime time;     // when it ended
  std::string_view id;  // session id + '.' + transaction number
  PeerRecord peer;
  // What a trusted peer told with XFORWARD, if it did.
  std::string_view forwarded_client;
  std::string_view forwarded_helo;
  std::string_view forwarded_id;
  std::string_view result;  // accepted, rejected, deferred, aborted
  std::string_view reverse_path;
  std::string_view recipients;  // RecipientRecords::json(); `recipients_total` counts all
  std::size_t recipients_total = 0;
  std::size_t recipients_accepted = 0;
  std::string_view header_from;
  std::string_view message_id;
  std::string_view subject;  // only when configured
  std::uint64_t octets = 0;
  std::size_t attachments = 0;
  std::size_t parts = 0;
  std::size_t removed_fields = 0;  // of the header; written unless 0
  std::vector<HitRecord> hits;
  std::string_view rule;   // that decided, when refused by us
  std::uint16_t code = 0;  // final reply to the client
  ReplyText reply;
  std::string_view upstream;  // name/server
  std::uint16_t upstream_code = 0;
  std::string_view upstream_reply;
  std::string_view queue_id;
  double duration_seconds = 0;
  double upstream_reply_seconds = 0;
};

struct SessionRecord {
  JournalTime time;
  std::string_view id;
  PeerRecord peer;
  std::string_view reason;  // quit, client_lost, timeout, policy, upstream, drain
  std::string_view detail;
  std::uint64_t transactions = 0;
  std::uint64_t messages_accepted = 0;
  std::uint64_t octets_in = 0;
  std::uint64_t octets_out = 0;
  std::uint32_t commands = 0;
  std::uint32_t auth_failures = 0;
  std::string_view refusals;  // RefusalRecords::json(); `refusals_total` counts all
  std::uint32_t refusals_total = 0;
  double duration_seconds = 0;
};

// Something an operator should know: start, stop, reload, backend down, upstream down, AUTH refused.
struct EventRecord {
  JournalTime time;
  enum class Level : std::uint8_t { debug, info, warning, error } level = Level::info;
  std::string event;    // stable name: "config_reloaded", "upstream_down", "auth_failed"
  std::string session;  // id, or empty
  std::vector<std::pair<std::string, std::string>> fields;
  std::string message;  // one English sentence
  // What a whole outage has in common ("legacy: connect"), or empty. Of events with one name and cause the
  // journal writes the first few and then how often the event was repeated (EventRepeats).
  std::string cause = {};
};

struct JournalSettings {
  enum class Sink : std::uint8_t { stderr_, file, syslog } sink = Sink::stderr_;
  std::string path;  // file: its name; syslog: the socket, /dev/log when empty
  EventRecord::Level level = EventRecord::Level::info;
  bool subject = false;  // write Subject
  std::size_t queue_octets_max =
      std::size_t{8} * 1024 * 1024;  // not yet written; more is dropped and counted
  bool operator==(const JournalSettings&) const = default;
};

// Renders one line, '\n' included, of at most record_octets_max. Values are cut at 1024 octets as written;
// hits and fields of an event are kept as far as they fit. Pure.
inline constexpr std::size_t record_octets_max = std::size_t{48} * 1024 - 64;  // journald cuts at 48 KiB
void append_json(TextBuffer& out, const TransactionRecord& record);
void append_json(TextBuffer& out, const SessionRecord& record);
void append_json(TextBuffer& out, const EventRecord& record);

class Journal {
 public:
  // Opens the sink; throws std::runtime_error with a sentence when that fails (start-up only).
  explicit Journal(JournalSettings settings);
  ~Journal();  // writes what is queued; a sink that takes nothing for 5 s is given up
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Thread-safe and non-blocking. When the queue is full the record is dropped and counted.
  void write(const TransactionRecord& record);
  void write(const SessionRecord& record);
  void write(const EventRecord& record);
  // After logrotate: what was queued before goes to the old file. Keeps that one when it fails, and tells it
  // with an event there.
  void reopen();
  void flush();                   // blocks until written, at most 5 s; shutdown and tests
  std::uint64_t dropped() const;  // records lost: queue full, or the sink failed

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace portcullis::metrics
