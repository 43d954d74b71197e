// Counts the parts of a MIME message while its bytes stream by (RFC 2045, 2046, 2183). Holds only
// the boundaries of the multiparts that are open and a bounded piece of the current line.
//
// An attachment is a leaf part that has Content-Disposition: attachment, or a filename/name
// parameter, or a type other than text/*. Not one is what a multipart/related shows inline: a child with
// a Content-ID that is not marked as an attachment (pictures in a text, most of them with a name).
// message/rfc822 parts count as one attachment and are not opened. A message that is itself not
// multipart is one leaf.
//
// Where readers of MIME disagree (two boundaries, a part header without end) the scanner takes the
// reading that finds more, and says `malformed`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis::smtp {

struct MimeFacts {
  std::size_t parts = 0;  // leaf parts
  std::size_t attachments = 0;
  std::size_t depth = 0;        // deepest nesting of multiparts
  bool limit_exceeded = false;  // depth, part count, boundary, part header or line: counts are lower bounds
  bool malformed = false;       // e.g. a multipart without boundary (counted as one leaf)
  bool operator==(const MimeFacts&) const = default;
};

class MimeScanner {
 public:
  MimeScanner() = default;
  // Values of the message's own header (HeaderFacts); empty where absent.
  void begin(std::string_view content_type, std::string_view content_disposition,
             std::string_view content_transfer_encoding);
  // Content after the header section, cut anywhere. Costs nothing when no multipart is open, and little
  // for lines that do not begin with '-'.
  void feed(std::string_view content);
  MimeFacts finish();

 private:
  // A multipart that is open. Several boundaries: readers could disagree which one it is.
  struct Multipart {
    std::vector<std::string> boundaries;
    bool related = false;
    bool digest = false;
    bool has_parts = false;
  };
  struct PartHeader;
  enum class State : std::uint8_t {
    text,       // looking for a line that begins with '-'
    candidate,  // in such a line
    header,     // in the header of a part
  };

  struct Delimiter {
    std::size_t level;  // index into open_
    bool closes;
  };

  void open_part(const PartHeader& header);
  void count_leaf(bool attachment);
  void close_multipart();
  std::optional<Delimiter> find_delimiter(std::string_view line);
  void pass(const Delimiter& delimiter);
  std::size_t skip_text(std::string_view content);
  std::size_t take_line(std::string_view content);
  void end_of_line(std::string_view line);
  void header_line(std::string_view line);
  void end_of_part_header();

  std::vector<Multipart> open_;  // innermost last
  std::string line_;             // beginning of the current line, when it came in pieces
  std::string part_header_;
  State state_ = State::text;
  bool line_start_ = true;  // in State::text: the next octet begins a line
  MimeFacts facts_;
};

}  // namespace portcullis::smtp
