// The header section of a message (RFC 5322, 6532), read once: what names the author in two ways is found
// and named with its field, because a filter and a mail reader that disagree about the author are what
// spoofing lives on.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "smtp/path.h"
#include "smtp/strictness.h"

namespace portcullis::smtp {

// Finds the end of the header section in streamed content. The block includes the empty line when
// the message has one; a message may also end inside its header.
class HeaderCollector {
 public:
  explicit HeaderCollector(std::size_t max_octets) : max_octets_(max_octets) {}
  // Takes octets of `content` up to and including the empty line; returns how many were taken (all,
  // when the header is too large).
  std::size_t feed(std::string_view content);
  bool complete() const { return complete_; }    // the empty line was seen
  bool too_large() const { return too_large_; }  // gave up: the block ends early
  std::string_view block() const { return block_; }
  std::string release();  // gives the block away (moved)

 private:
  std::size_t find_end(std::string_view content);

  std::size_t max_octets_;
  std::string block_;
  std::size_t matched_ = 2;  // octets of CRLF CRLF at the end of what was taken; a message starts a line
  bool complete_ = false;
  bool too_large_ = false;
};

struct HeaderMailbox {
  std::string display_name;  // decoded where possible (encoded words left as they are), may be empty
  Mailbox mailbox;
};

struct HeaderFacts {
  std::vector<HeaderMailbox> from;         // every mailbox of the one From field
  std::vector<HeaderMailbox> sender;       // none or one
  std::vector<HeaderMailbox> reply_to;     // lenient: empty when it can not be parsed
  std::vector<HeaderMailbox> resent_from;  // Resent-From and Resent-Sender, all blocks
  std::string from_text;                   // the raw From body, unfolded, for the journal
  std::string message_id;                  // as written, empty when there is none, capped at 998 octets
  std::string subject;                     // raw, unfolded, capped at 256 octets, for the journal
  std::size_t received_fields = 0;         // loop detection (RFC 5321 6.3)
  std::size_t visible_recipients = 0;      // mailboxes in To and Cc
  std::string content_type;                // raw body of Content-Type, unfolded; of several the multipart
  std::string content_disposition;
  std::string content_transfer_encoding;
  bool ambiguous_content = false;  // one of those three is there twice with different values
  bool has_date = false;
  bool eight_bit = false;  // raw octets above 127 in the block
};

// What a rule found in a header. `field` is the field's canonical name ("From"), or "header" for the block
// itself; `reason` a short phrase for the reply: "two From fields".
struct HeaderFinding {
  Strictness rule = Strictness::header_limit;
  std::string field;
  std::string reason;
};

struct HeaderReport {
  HeaderFacts facts;                    // as far as they could be read, whatever was found
  std::vector<HeaderFinding> findings;  // of each rule the first; those about the block come first
};

struct HeaderOptions {
  bool smtputf8 = false;  // UTF-8 in the addresses of author fields
  // A notice: a message with a null reverse-path from a client that is not logged in. Its author may be
  // nobody (RFC 5322 3.6.2 has no such form, mail systems write it): "MAILER-DAEMON <>", or no From at all.
  bool notice = false;
};

// Parses a whole header block as HeaderCollector gives it (CRLF line ends guaranteed). Every line is read,
// whatever was found before it, so that the facts are complete in shadow mode and in the journal.
// Found: author fields with any syntax that a strict RFC 5322 parser and a lenient one could read
// differently (docs/header-strictness.md); lines that only some readers take for an author field, or that
// end the header for some before an author; two fields where one is allowed; several From mailboxes
// without Sender (RFC 5322 3.6.2).
HeaderReport parse_header(std::string_view block, const HeaderOptions& options);

}  // namespace portcullis::smtp
