// Counts the parts of a MIME message while its bytes stream by (RFC 2045, 2046, 2183). Holds only
// the boundaries of the multiparts that are open and a bounded piece of the current line.
//
// An attachment is a leaf part that has Content-Disposition: attachment, or a filename/name
// parameter, or a type other than text/* and multipart/* that is not an inline part of
// multipart/related with a Content-ID. message/rfc822 parts count as one attachment and are not
// opened. A message that is itself not multipart is one leaf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis::smtp {

struct MimeFacts {
  std::size_t parts = 0;        // leaf parts
  std::size_t attachments = 0;
  std::size_t depth = 0;        // deepest nesting of multiparts
  bool limit_exceeded = false;  // depth, part count or boundary limit: the count is a lower bound
  bool malformed = false;       // e.g. multipart without boundary; counted as one leaf
};

class MimeScanner {
 public:
  MimeScanner() = default;
  // Values of the message's own header (HeaderFacts); empty where absent.
  void begin(std::string_view content_type, std::string_view content_disposition,
             std::string_view content_transfer_encoding);
  // Content after the header section, cut anywhere. Cheap when no multipart is open.
  void feed(std::string_view content);
  MimeFacts finish();

 private:
  struct Part;
  std::vector<std::string> boundaries_;  // innermost last
  std::string line_;
  std::string part_header_;
  std::uint8_t state_ = 0;
  bool related_ = false;
  MimeFacts facts_;
};

}  // namespace portcullis::smtp
