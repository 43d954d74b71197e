// Whatever is in a record, the journal writes exactly one line of valid JSON that shows no control
// or bidi character. The first octet chooses the kind; the rest is cut into fields at 0xfe.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "metrics/journal.h"

namespace {

using namespace portcullis::metrics;

class Fields {
 public:
  explicit Fields(std::string_view bytes) : bytes_(bytes) {}
  bool more() const { return !bytes_.empty(); }
  std::string_view next() {
    const std::size_t end = bytes_.find('\xfe');
    const std::string_view field = bytes_.substr(0, end);
    bytes_.remove_prefix(end == std::string_view::npos ? bytes_.size() : end + 1);
    return field;
  }

 private:
  std::string_view bytes_;
};

PeerRecord peer(Fields& fields) {
  PeerRecord peer;
  for (std::string_view* field :
       {&peer.helo, &peer.login, &peer.tls_client_subject, &peer.client, &peer.via, &peer.listener,
        &peer.tls_version, &peer.tls_cipher, &peer.mechanism, &peer.backend})
    *field = fields.next();
  return peer;
}

std::string transaction(Fields& fields) {
  TransactionRecord record;
  for (std::string_view* field :
       {&record.reverse_path, &record.header_from, &record.message_id, &record.subject, &record.reply.text,
        &record.upstream_reply, &record.queue_id})
    *field = fields.next();
  record.peer = peer(fields);
  RecipientRecords recipients;
  for (int i = 0; i < 10 && fields.more(); ++i) {
    recipients.add(fields.next(), 250, {fields.next(), fields.next()}, fields.next());
    record.hits.push_back({fields.next(), fields.next(), fields.next(), fields.next()});
  }
  record.recipients = recipients.json();
  TextBuffer out;
  append_json(out, record);
  return std::string(out.view());
}

std::string session(Fields& fields) {
  SessionRecord record;
  record.id = fields.next();
  record.reason = fields.next();
  record.detail = fields.next();
  record.peer = peer(fields);
  TextBuffer out;
  append_json(out, record);
  return std::string(out.view());
}

std::string event(Fields& fields) {
  EventRecord record;
  record.event = fields.next();
  record.session = fields.next();
  record.message = fields.next();
  for (int i = 0; i < 10 && fields.more(); ++i) record.fields.emplace_back(fields.next(), fields.next());
  TextBuffer out;
  append_json(out, record);
  return std::string(out.view());
}

void check(const std::string& line) {
  if (line.empty() || line.find('\n') != line.size() - 1) std::abort();
  for (std::size_t i = 0; i + 1 < line.size(); ++i) {
    const auto c = static_cast<unsigned char>(line[i]);
    if (c < 0x20 || c == 0x7f) std::abort();
  }
  for (const char* const hidden :
       {"\xc2\x9b", "\xe2\x80\xae", "\xe2\x80\xa8", "\xe2\x80\x8b", "\xef\xbb\xbf"})
    if (line.find(hidden) != std::string::npos) std::abort();
  // Strict: valid UTF-8, nothing after the object.
  if (!nlohmann::json::accept(line) || !line.starts_with("{\"time\":")) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string bytes(data + 1, data + size);
  Fields fields(bytes);
  switch (data[0] % 3) {
    case 0:
      check(transaction(fields));
      break;
    case 1:
      check(session(fields));
      break;
    default:
      check(event(fields));
  }
  return 0;
}
