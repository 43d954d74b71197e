// One mail transaction (RFC 5321 3.3) in progress: envelope, content on its way, what was decided.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "metrics/journal.h"
#include "policy/chain.h"
#include "smtp/body.h"
#include "smtp/header.h"
#include "smtp/mime.h"
#include "smtp/params.h"
#include "smtp/path.h"
#include "smtp/reply.h"

namespace portcullis::session {

// How far the upstream is with this transaction.
enum class UpstreamState : std::uint8_t {
  none,       // no connection asked for yet
  acquiring,  // asked for
  envelope,   // MAIL and RCPTs are (being) sent
  await_354,  // DATA sent
  streaming,  // content is being sent
  ended,      // the end of the message is sent: its reply decides
  gone,       // given back, closed or lost
};

// DATA may go to the upstream before the header was judged, so that its 354 is there when the content is:
// behind the RCPTs of a client that pipelines, in one write (RFC 2920), or behind the first RCPT of one whose
// messages so far had just one.
enum class EarlyData : std::uint8_t {
  no,
  wanted,   // as soon as there is a connection
  sent,     // not answered yet
  granted,  // 354: this connection takes content now, or is closed
  refused,  // 4xx or 5xx: the connection can be used again
  spoiled,  // an answer that is none
};

// Connections that one transaction takes at most, while pooled ones turn out to be stale and servers to hang.
inline constexpr std::uint8_t connection_attempts = 3;

struct Content {
  explicit Content(smtp::BareLf bare_lf, std::size_t header_octets)
      : reader(bare_lf), scanner(bare_lf), header(header_octets) {}
  bool bdat = false;             // the client's framing
  smtp::DataReader reader;       // DATA
  smtp::ContentScanner scanner;  // BDAT
  std::uint64_t chunk_left = 0;  // octets of the BDAT chunk still to come
  bool chunk_last = false;
  smtp::HeaderCollector header;
  bool header_done = false;
  smtp::HeaderFacts facts;
  smtp::MimeScanner mime;
  smtp::MimeFacts mime_facts;
  std::uint64_t octets = 0;      // content seen
  std::uint64_t swallowed = 0;   // after the refusal
  bool size_judged = false;      // grew past what the client's rules allow, and was judged for it
  bool complete = false;         // the client sent all of it
  std::size_t added_octets = 0;  // our own fields in front of it
  // Of the time since content_started_ms, what the upstream took and the client could not send in.
  std::int64_t lent_ms = 0;
  std::optional<std::int64_t> upstream_since_ms;
  // Toward the upstream.
  bool upstream_bdat = false;
  smtp::DataWriter writer;
  std::string held;  // not sent yet: header before 354, small chunks
  std::size_t chunks_outstanding = 0;
};

// What the recorded recipients that were refused come to, when no other was left.
struct RefusedRecipients {
  bool for_good = true;  // all of them
  smtp::Reply reply;     // to the last one
  std::string rule;      // ours, that refused it
};

struct Transaction {
  std::uint32_t number = 0;
  std::int64_t started_ms = 0;
  std::int64_t content_started_ms = 0;
  std::int64_t ended_ms = 0;  // end of the message sent to the upstream
  smtp::Path reverse_path;
  std::string reverse_path_text;  // as it came, where it could not be read
  smtp::MailParameters mail;
  std::vector<smtp::Path> recipients;  // passed policy; the upstream may still refuse some
  std::vector<smtp::RcptParameters> recipient_parameters;
  std::size_t accepted = 0;                      // by the upstream
  std::vector<std::size_t> accepted_recipients;  // indices into recipients, in the order of the replies
  std::size_t refused = 0;                       // by us or the upstream
  policy::ChargeList charges;
  UpstreamState upstream = UpstreamState::none;
  EarlyData early_data = EarlyData::no;
  std::optional<smtp::Reply> data_refusal;  // of an early DATA, as the upstream gave it
  // Accepted on a connection that was given up, and not accepted again on the present one yet.
  std::size_t unconfirmed = 0;
  std::uint8_t yields = 0;                      // connections given back for others
  bool pooled = false;                          // the connection served an earlier transaction
  std::uint8_t attempts = 0;                    // connections taken for it
  std::optional<smtp::Reply> upstream_refusal;  // of MAIL, or why there is no upstream: for every RCPT
  std::optional<Content> content;
  std::optional<smtp::Reply> refusal;  // of the message; what is left of it is swallowed
  bool inside_early_data() const {
    return early_data == EarlyData::sent || early_data == EarlyData::granted ||
           early_data == EarlyData::spoiled;
  }
  std::size_t removed_fields = 0;  // of the header
  // For the journal.
  metrics::RecipientRecords recipient_records;
  RefusedRecipients refused_recipients;
  std::vector<policy::Hit> hits;
  std::string rule;
  std::string upstream_name;
  std::uint16_t upstream_code = 0;
  std::string upstream_reply;
};

}  // namespace portcullis::session
