#include "smtp/mime.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

#include "smtp/ascii.h"
#include "smtp/content_field.h"
#include "smtp/header_fields.h"
#include "smtp/limits.h"
#include "smtp/octet_scan.h"

namespace portcullis::smtp {
namespace {

// More of a line is not kept: "--", a boundary, "--" and a good deal of transport padding.
constexpr std::size_t delimiter_line_octets = 256;

std::string_view without_line_end(std::string_view line) {
  while (!line.empty() && std::string_view(" \t\r\n").contains(line.back())) line.remove_suffix(1);
  return line;
}

bool is_multipart(const ContentField& type) { return type.value.starts_with("multipart/"); }

bool is_message(const ContentField& type) {
  return type.value == "message/rfc822" || type.value == "message/global" || type.value == "message/news";
}

bool is_picture_name(const std::string& name) {
  constexpr std::array<std::string_view, 13> endings = {".png",  ".jpg",  ".jpeg", ".gif",  ".bmp",
                                                        ".webp", ".svg",  ".tif",  ".tiff", ".ico",
                                                        ".heic", ".avif", ".emz"};
  return std::ranges::any_of(endings, [&](std::string_view ending) {
    return name.size() > ending.size() &&
           equals_ignoring_case(std::string_view(name).substr(name.size() - ending.size()), ending);
  });
}

}  // namespace

// --- what a part says of itself -----------------------------------------------------------------------

struct MimeScanner::PartHeader {
  ContentField type, disposition;
  bool has_type = false, has_disposition = false, has_id = false;
  bool encoded = false;  // base64 or quoted-printable
  bool malformed = false;

  void set_type(std::string_view body);
  void set_disposition(std::string_view body);
  void set_encoding(std::string_view body);
  void read(std::string_view block);
  void read_field(std::string_view field);
  bool is_picture() const;
};

// Of several fields a reader takes the first or the last: a multipart among them is one to us.
void MimeScanner::PartHeader::set_type(std::string_view body) {
  ContentField field = parse_content_field(body);
  malformed = malformed || has_type || field.malformed;
  if (!has_type || (is_multipart(field) && !is_multipart(type))) type = std::move(field);
  has_type = true;
}

void MimeScanner::PartHeader::set_disposition(std::string_view body) {
  ContentField field = parse_content_field(body);
  malformed = malformed || has_disposition || field.malformed;
  if (!has_disposition || field.value == "attachment") disposition = std::move(field);
  has_disposition = true;
}

void MimeScanner::PartHeader::set_encoding(std::string_view body) {
  const std::string value = content_value(body);
  encoded = encoded || value == "base64" || value == "quoted-printable";
}

void MimeScanner::PartHeader::read_field(std::string_view field) {
  const std::size_t colon = field.find(':');
  if (colon == std::string_view::npos) return;
  const std::string_view name = without_line_end(field.substr(0, colon));
  const std::string body = unfold(without_line_end(field.substr(colon + 1)));
  if (equals_ignoring_case(name, "Content-Type")) set_type(body);
  if (equals_ignoring_case(name, "Content-Disposition")) set_disposition(body);
  if (equals_ignoring_case(name, "Content-Transfer-Encoding")) set_encoding(body);
  if (equals_ignoring_case(name, "Content-ID")) has_id = true;
}

void MimeScanner::PartHeader::read(std::string_view block) {
  std::size_t start = 0;
  for (std::size_t at = 0; at < block.size();) {
    at = std::min(block.find('\n', at), block.size() - 1) + 1;
    const bool continued = at < block.size() && (block[at] == ' ' || block[at] == '\t');
    if (continued) continue;
    read_field(block.substr(start, at - start));
    start = at;
  }
}

// By its type, and by the name that a reader would store it under.
bool MimeScanner::PartHeader::is_picture() const {
  std::vector<std::string> names = type.names();
  std::ranges::move(disposition.names(), std::back_inserter(names));
  if (!std::ranges::all_of(names, is_picture_name)) return false;
  return type.value.starts_with("image/") || (type.value == "application/octet-stream" && !names.empty());
}

// --- structure ------------------------------------------------------------------------------------------

bool MimeScanner::is_attachment(const PartHeader& header, bool related) {
  // RFC 2183 2.8: a disposition that is not known is "attachment".
  if (!header.disposition.value.empty() && header.disposition.value != "inline") return true;
  if (related && header.has_id && header.is_picture()) {
    return inline_pictures_++ >= limits::mime_inline_pictures;
  }
  if (header.disposition.has_name() || header.type.has_name()) return true;
  // RFC 2045 5.2: no type, or one that is none, is text.
  const std::string& type = header.type.value;
  return type.contains('/') && !type.starts_with("text/") && !is_multipart(header.type);
}

// A leaf is counted; a multipart or an attached message becomes the innermost open one.
void MimeScanner::open_part(const PartHeader& header) {
  facts_.malformed = facts_.malformed || header.malformed;
  const bool related = !open_.empty() && open_.back().related;
  if (!open_.empty()) open_.back().has_parts = true;
  if (is_multipart(header.type) && open_multipart(header)) return;
  count_leaf(is_attachment(header, related));
  if (is_message(header.type)) open_message(header);
  // Only the reader that has all fragments knows what is in them.
  facts_.limit_exceeded = facts_.limit_exceeded || header.type.value == "message/partial";
}

bool MimeScanner::open_multipart(const PartHeader& header) {
  Multipart multipart;
  multipart.boundaries = boundaries_of(header.type);
  multipart.related = header.type.value == "multipart/related";
  multipart.digest = header.type.value == "multipart/digest";
  multipart.encoded = header.encoded;
  const auto& all = multipart.boundaries;
  const bool too_long = std::ranges::any_of(
      all, [](const auto& boundary) { return boundary.size() > limits::mime_boundary_octets; });
  // RFC 2045 6.4: a multipart is not encoded. Few readers would decode it.
  facts_.malformed = facts_.malformed || all.size() != 1 || header.encoded;
  if (too_long || open_.size() == limits::mime_depth) {
    facts_.limit_exceeded = true;
    return false;
  }
  if (all.empty()) return false;
  open_.push_back(std::move(multipart));
  look_for_boundaries();
  if (messages_ == 0) facts_.depth = std::max(facts_.depth, open_.size());
  return true;
}

// Its header follows, as that of a part.
void MimeScanner::open_message(const PartHeader& header) {
  if (header.encoded || open_.size() == limits::mime_depth) {
    facts_.limit_exceeded = true;
    return;
  }
  Multipart message;
  message.message = true;
  open_.push_back(std::move(message));
  ++messages_;
  state_ = State::header;
}

void MimeScanner::count_leaf(bool attachment) {
  if (leaves_ == limits::mime_parts) {
    facts_.limit_exceeded = true;
    return;
  }
  ++leaves_;
  if (messages_ == 0) ++facts_.parts;
  if (attachment) ++facts_.attachments;
}

// A multipart whose boundary never came is a leaf to every reader.
void MimeScanner::close_multipart() {
  const Multipart& closed = open_.back();
  if (closed.message) {
    --messages_;
  } else if (!closed.has_parts) {
    facts_.malformed = true;
    facts_.limit_exceeded = facts_.limit_exceeded || closed.encoded;
    count_leaf(false);
  }
  open_.pop_back();
  look_for_boundaries();
}

void MimeScanner::look_for_boundaries() {
  first_octets_.clear();
  for (const Multipart& multipart : open_) {
    for (const std::string& boundary : multipart.boundaries) {
      if (!first_octets_.contains(boundary.front())) first_octets_ += boundary.front();
    }
  }
}

// The delimiter that `line` is, of the multiparts that are open (RFC 2046 5.1.1).
std::optional<MimeScanner::Delimiter> MimeScanner::find_delimiter(std::string_view line) {
  if (line.size() < 3 || !line.starts_with("--") || !first_octets_.contains(line[2])) return std::nullopt;
  const std::string_view text = without_line_end(line).substr(2);
  bool begins_like_one = false;
  for (std::size_t level = open_.size(); level-- > 0;) {
    for (const std::string& boundary : open_[level].boundaries) {
      if (!text.starts_with(boundary)) continue;
      const std::string_view rest = text.substr(boundary.size());
      if (rest.empty() || rest == "--") return Delimiter{level, !rest.empty()};
      begins_like_one = true;
    }
  }
  // RFC 2046 can be read so that this is one, too; no reader we know of does.
  facts_.malformed = facts_.malformed || begins_like_one;
  return std::nullopt;
}

// An inner multipart without a close delimiter ends with the next delimiter of an outer one.
void MimeScanner::pass(const Delimiter& delimiter) {
  while (open_.size() > delimiter.level + 1) close_multipart();
  if (delimiter.closes) close_multipart();
  state_ = delimiter.closes ? State::text : State::header;
  line_start_ = true;
  part_header_.clear();
  keeps_field_ = false;
}

void MimeScanner::end_of_part_header() {
  PartHeader header;
  header.read(part_header_);
  if (!header.has_type && !open_.empty() && open_.back().digest) header.set_type("message/rfc822");
  part_header_.clear();
  keeps_field_ = false;
  state_ = State::text;
  line_start_ = true;
  open_part(header);
}

void MimeScanner::header_line(std::string_view line) {
  if (line == "\r\n" || line == "\n") return end_of_part_header();
  // Of such a line only the beginning is known: it may delimit, or not.
  facts_.limit_exceeded = facts_.limit_exceeded || line.size() > limits::mime_part_header_octets;
  auto delimiter = find_delimiter(line);
  if (!delimiter && !(line.starts_with("--") && !line.contains(':'))) {
    if (line.front() != ' ' && line.front() != '\t') {
      keeps_field_ = starts_with_ignoring_case(line, "Content-");
    }
    if (!keeps_field_) return;
    if (part_header_.size() + line.size() <= limits::mime_part_header_octets) {
      part_header_ += line;
    } else {
      facts_.limit_exceeded = true;
    }
    return;
  }
  // The header ended without an empty line: a message may (RFC 5322 3.5), a part may not. What it opens may
  // be what this line delimits.
  const bool whole_message = delimiter && !open_.empty() && open_.back().message;
  facts_.malformed = facts_.malformed || !whole_message;
  end_of_part_header();
  if (!delimiter) delimiter = find_delimiter(line);
  if (delimiter) pass(*delimiter);
}

// --- lines ----------------------------------------------------------------------------------------------

void MimeScanner::begin(std::string_view content_type, std::string_view content_disposition,
                        std::string_view content_transfer_encoding) {
  PartHeader header;
  if (!content_type.empty()) header.set_type(content_type);
  if (!content_disposition.empty()) header.set_disposition(content_disposition);
  if (!content_transfer_encoding.empty()) header.set_encoding(content_transfer_encoding);
  open_part(header);
}

void MimeScanner::feed(std::string_view content) {
  // Nothing more can be counted once there are no multiparts open, or too many parts.
  const auto idle = [this] {
    return open_.empty() || (facts_.limit_exceeded && leaves_ == limits::mime_parts);
  };
  while (!content.empty() && !idle()) {
    content.remove_prefix(state_ == State::text ? skip_text(content) : take_line(content));
  }
}

// Octets that can not matter; stops before a line that begins with "--" and the first octet of a boundary, as
// far as that can be seen.
std::size_t MimeScanner::skip_text(std::string_view content) {
  const std::size_t candidate = find_candidate(content);
  if (candidate < content.size()) state_ = State::candidate;
  return candidate;
}

// Looks at whole blocks, whatever lines are in them: a message may be made of lines that almost delimit. What
// cannot be told without the octets behind a block is looked at line by line.
std::size_t MimeScanner::find_candidate(std::string_view content) {
  std::size_t at = 0;
  while (content.size() - at >= scan_block_octets + 2) {
    // Most content has no such lines.
    const std::size_t dash = find_at_line_start<'-'>(content.substr(at), line_start_);
    if (dash == std::string_view::npos) return content.size();
    at += dash;
    line_start_ = true;
    if (content.size() - at < scan_block_octets + 2) break;
    const OctetBlock first(content.data() + at), second(content.data() + at + 1),
        third(content.data() + at + 2);
    const std::uint64_t lf = first.equal_to('\n');
    std::uint64_t boundary = 0;
    for (const char octet : first_octets_) boundary |= third.equal_to(octet);
    const std::uint64_t found = first.equal_to('-') & (lf << 1 | 1U) & second.equal_to('-') & boundary;
    if (found != 0) return at + static_cast<std::size_t>(std::countr_zero(found));
    at += scan_block_octets;
    line_start_ = lf >> (scan_block_octets - 1) != 0;
  }
  while (at < content.size()) {
    const std::size_t dash = find_at_line_start<'-'>(content.substr(at), line_start_);
    if (dash == std::string_view::npos) return content.size();
    at += dash;
    const std::string_view line = content.substr(at, 3);
    const bool dashes = line.size() < 2 || line[1] == '-';
    if (dashes && (line.size() < 3 || first_octets_.contains(line[2]))) return at;
    ++at;
    line_start_ = false;
  }
  return content.size();
}

// Takes octets up to the end of the line, when it is there; keeps them in line_ when it is not. A line
// too long to matter is cut, but not to a length that does.
std::size_t MimeScanner::take_line(std::string_view content) {
  const std::size_t limit = state_ == State::header ? limits::mime_part_header_octets : delimiter_line_octets;
  const std::size_t line_feed = content.find('\n');
  const bool complete = line_feed != std::string_view::npos;
  const std::size_t octets = complete ? line_feed + 1 : content.size();
  if (complete && line_.empty()) {
    end_of_line(content.substr(0, std::min(octets, limit + 1)));  // as if it had come in pieces
    return octets;
  }
  line_ += content.substr(0, std::min(octets, limit + 1 - line_.size()));
  if (complete) end_of_line(std::exchange(line_, {}));
  return octets;
}

void MimeScanner::end_of_line(std::string_view line) {
  if (state_ == State::header) return header_line(line);
  state_ = State::text;
  line_start_ = true;
  const auto delimiter = find_delimiter(line);
  if (line.size() > delimiter_line_octets) {
    // What is not kept decides whether it is one, and what follows it goes uncounted.
    facts_.limit_exceeded = facts_.limit_exceeded || delimiter;
    return;
  }
  if (delimiter) pass(*delimiter);
}

MimeFacts MimeScanner::finish() {
  if (!line_.empty()) end_of_line(std::exchange(line_, {}));
  if (state_ == State::header) end_of_part_header();
  while (!open_.empty()) close_multipart();
  return facts_;
}

}  // namespace portcullis::smtp
