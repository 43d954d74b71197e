// Replies: ours as values, a peer's through an incremental, bounded parser (RFC 5321 4.2, 2034,
// 3463).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace portcullis::smtp {

struct Reply {
  std::uint16_t code = 0;  // 200..559
  std::string enhanced;    // "5.7.1", or empty
  std::string text;        // lines separated by '\n', without code, enhanced code and CR

  bool positive() const { return code >= 200 && code < 300; }
  bool intermediate() const { return code >= 300 && code < 400; }
  bool transient() const { return code >= 400 && code < 500; }
  bool permanent() const { return code >= 500 && code < 600; }
  bool operator==(const Reply&) const = default;
};

// Appends the wire form, one line or several ("250-..."), CRLF at the end. Every octet of the text
// that is not printable ASCII, blank or visible UTF-8 is written as '?': a reply can not be broken, nor
// shown as something else, by what is quoted in it. Over-long lines are cut at 512 octets (RFC 5321
// 4.5.3.1.5).
void append_wire(std::string& out, const Reply& reply);

// A basic enhanced code for a reply that has none: x.0.0 with x from the code's class.
std::string_view generic_enhanced_code(std::uint16_t code);

// Text of a peer as it may be shown to the other one: control characters, what is invisible
// and invalid UTF-8 replaced, capped at `max_octets`, line structure ('\n') kept.
std::string cleaned_text(std::string_view text, std::size_t max_octets);

// Parses replies from a peer. Tolerates bare LF line ends and missing text (upstreams are legacy
// servers), never codes outside 200..599, differing codes in one reply, or unbounded size.
class ReplyParser {
 public:
  enum class Status : std::uint8_t { need_more, complete, malformed };

  // Consumes from the front of `bytes` up to the end of the first complete reply; stops there.
  // Returns how many octets were consumed; status() then tells. Consumes nothing while a complete
  // reply waits to be taken, and everything once malformed: the connection is to be closed.
  std::size_t feed(std::string_view bytes);
  Status status() const { return status_; }
  // The complete reply (empty, code 0, when there is none); resets the parser for the next one.
  Reply take();
  // True when nothing has been fed since the last take().
  bool idle() const { return status_ == Status::need_more && line_.empty() && lines_ == 0; }

 private:
  Status finish_line(std::string_view line);
  Status status_ = Status::need_more;
  Reply reply_;
  std::string line_;
  std::size_t lines_ = 0;
};

}  // namespace portcullis::smtp
