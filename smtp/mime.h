// Counts the parts of a MIME message while its bytes stream by (RFC 2045, 2046, 2183). Holds only
// the boundaries of the multiparts that are open and a bounded piece of the current line.
//
// An attachment is a leaf part that has a Content-Disposition other than inline, or a filename/name
// parameter, or a type other than text/*. Not one is a picture that a multipart/related shows inline: a
// child with a Content-ID, of an image type, and with the name of an image file if it has a name; up to
// limits::mime_inline_pictures of them. A message/rfc822 part is one attachment, and what is attached to
// it counts too. A message that is itself not multipart is one leaf.
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
  std::size_t parts = 0;        // leaf parts; an attached message is one
  std::size_t attachments = 0;  // those of attached messages included
  std::size_t depth = 0;        // deepest nesting of multiparts, attached messages left out
  // Depth, part count, boundary, part header or line, or what cannot be looked into: an encoded message or
  // multipart, a fragment of a message (RFC 2046 5.2.2). The counts are lower bounds.
  bool limit_exceeded = false;
  bool malformed = false;  // e.g. a multipart without boundary (counted as one leaf)
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
  // A multipart that is open. Several boundaries: readers could disagree which one it is. An attached message
  // has none: it ends with the part that it is.
  struct Multipart {
    std::vector<std::string> boundaries;
    bool message = false;
    bool related = false;
    bool digest = false;
    bool encoded = false;
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
  bool open_multipart(const PartHeader& header);
  void open_message(const PartHeader& header);
  bool is_attachment(const PartHeader& header, bool related);
  void count_leaf(bool attachment);
  void close_multipart();
  std::optional<Delimiter> find_delimiter(std::string_view line);
  void pass(const Delimiter& delimiter);
  std::size_t skip_text(std::string_view content);
  std::size_t find_candidate(std::string_view content);
  void look_for_boundaries();
  std::size_t take_line(std::string_view content);
  void end_of_line(std::string_view line);
  void header_line(std::string_view line);
  void end_of_part_header();

  std::vector<Multipart> open_;      // innermost last
  std::string first_octets_;         // of their boundaries, each once
  std::string line_;                 // beginning of the current line, when it came in pieces
  std::string part_header_;          // its Content-* fields
  bool keeps_field_ = false;         // the field that the last line belongs to is one of them
  std::size_t leaves_ = 0;           // all that were counted
  std::size_t messages_ = 0;         // attached ones among open_
  std::size_t inline_pictures_ = 0;  // not counted as attachments
  State state_ = State::text;
  bool line_start_ = true;  // in State::text: the next octet begins a line
  MimeFacts facts_;
};

}  // namespace portcullis::smtp
