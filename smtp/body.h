// Framing of the message content toward us: DATA (RFC 5321 4.5.2) and BDAT (RFC 3030), and toward
// the upstream. Content is what is between the framing: dot-stuffing removed, no terminator.
//
// Law 3: a message ends at CRLF.CRLF and nowhere else; bare CR, bare LF and NUL are faults (or, for
// LF where the admin chose so, become CRLF) before anybody else sees them. After a fault the reader
// goes on to the true end of the message and yields no more content: a refusal in between would
// make the rest of the message look like commands, which is what smuggling lives on.
//
//   DataReader reader(BareLf::refuse);
//   consumed = reader.feed(bytes, slices);   // slices: views of content, in order
//   if (reader.done()) …                     // bytes after `consumed` belong to the next command
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis::smtp {

enum class BareLf : std::uint8_t { refuse, normalize };
enum class BodyFault : std::uint8_t { none, bare_lf, bare_cr, nul };

using Slices = std::vector<std::string_view>;

// BDAT content: looks for bare CR, bare LF, NUL and 8-bit octets, at any cut. A chunk has no
// terminator and no dot-stuffing.
class ContentScanner {
 public:
  explicit ContentScanner(BareLf bare_lf) : bare_lf_(bare_lf) {}
  // Appends `content` (or its normalised form) to `out`; nothing after a fault. A CR at the very end
  // is held back until the next octet is known. Slices point into `content` or into static storage.
  void feed(std::string_view content, Slices& out);
  // The message is complete: a CR held back is a bare one.
  void finish();
  BodyFault fault() const { return fault_; }
  bool saw_eight_bit() const { return eight_bit_; }
  bool ends_with_crlf() const { return at_line_start_; }  // also true for empty content

 private:
  void meet(BodyFault fault);

  BareLf bare_lf_;
  BodyFault fault_ = BodyFault::none;
  bool eight_bit_ = false;
  bool pending_cr_ = false;
  bool at_line_start_ = true;
};

// DATA content. The message ends at CRLF.CRLF, or at .CRLF when that is its first line.
//
// With BareLf::normalize a LF becomes CRLF in the content, but it never takes part in the framing:
// LF.CRLF, LF.LF and CRLF.LF are lines of content that consist of one dot. A client that ends lines
// with LF also stuffs dots after LF, if it stuffs at all: "LF.." is read as a stuffed dot, "LF.x" as
// it stands.
class DataReader {
 public:
  explicit DataReader(BareLf bare_lf) : bare_lf_(bare_lf) {}
  // Consumes from `bytes` until they end or the message does; returns how many octets that were.
  // Appends views of content to `content` (into `bytes` or static storage); nothing after a fault. A
  // view is only cut at a stuffed dot, a normalised LF and the end of `bytes`, where a CR is held
  // back until the next octet is known.
  std::size_t feed(std::string_view bytes, Slices& content);
  bool done() const { return done_; }
  BodyFault fault() const { return fault_; }  // the first one
  bool saw_eight_bit() const { return eight_bit_; }
  std::uint64_t content_octets() const { return content_octets_; }  // as appended by feed()

 private:
  enum class State : std::uint8_t {
    line_start,  // after CRLF, or nothing read yet
    text,
    cr,        // after a CR that is not in the content yet
    dot,       // CRLF "." : the end, or a stuffed dot
    dot_cr,    // CRLF "." CR
    lf_start,  // after a normalised LF
    lf_dot,    // normalised LF, "." : not in the content yet
  };
  std::size_t read_text(std::string_view bytes, Slices& content);
  std::size_t read_stuffed(std::string_view bytes, Slices& content);
  std::size_t skip_refused(std::string_view bytes);
  std::size_t read_odd(char octet, Slices& content);
  std::size_t read_framing(char octet, Slices& content);
  void emit(std::string_view view, Slices& content);
  void meet(BodyFault fault);

  BareLf bare_lf_;
  State state_ = State::line_start;
  BodyFault fault_ = BodyFault::none;
  bool eight_bit_ = false;
  bool done_ = false;
  std::uint64_t content_octets_ = 0;
};

// Content -> DATA framing for the upstream: dots stuffed; finish() gives what closes the message.
// The content comes from a DataReader or ContentScanner, hence has no bare CR or LF.
class DataWriter {
 public:
  // Appends to `out` views of `content` (which must outlive them).
  void feed(std::string_view content, Slices& out);
  // The same for a view as a DataReader gave it, or the rest of one: it was cut at every dot that begins
  // a line, so only its first octet can be one.
  void feed_cut_at_dots(std::string_view content, Slices& out);
  // CRLF.CRLF, or .CRLF when the content ended with CRLF (or was empty).
  std::string_view finish() const;

 private:
  bool line_start_ = true;
};

}  // namespace portcullis::smtp
