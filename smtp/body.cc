#include "smtp/body.h"

#include "smtp/octet_scan.h"

namespace portcullis::smtp {
namespace {

// Octets that are content but were consumed before that was known.
constexpr std::string_view held_cr = "\r";
constexpr std::string_view held_dot = ".";
constexpr std::string_view crlf = "\r\n";

}  // namespace

// --- ContentScanner ---------------------------------------------------------------------------------

void ContentScanner::meet(BodyFault fault) {
  if (fault_ == BodyFault::none) fault_ = fault;
}

void ContentScanner::feed(std::string_view content, Slices& out) {
  while (!content.empty() && fault_ == BodyFault::none) {
    LinePosition position{pending_cr_, at_line_start_};
    const std::size_t run = plain_run<false>(content.data(), content.size(), position, eight_bit_);
    // A held CR turned out to be the first half of a CRLF.
    if (run > 0 && pending_cr_) out.push_back(held_cr);
    const std::size_t kept = run - (run > 0 && position.after_cr ? 1 : 0);
    if (kept > 0) out.push_back(content.substr(0, kept));
    pending_cr_ = position.after_cr;
    at_line_start_ = position.line_start;
    content.remove_prefix(run);
    if (content.empty()) return;

    if (pending_cr_) {
      meet(BodyFault::bare_cr);
    } else if (content.front() == '\0') {
      meet(BodyFault::nul);
    } else if (bare_lf_ == BareLf::refuse) {
      meet(BodyFault::bare_lf);
    } else {
      out.push_back(crlf);
      at_line_start_ = true;
      content.remove_prefix(1);
    }
  }
}

void ContentScanner::finish() {
  if (pending_cr_) meet(BodyFault::bare_cr);
}

// --- DataReader -------------------------------------------------------------------------------------

void DataReader::meet(BodyFault fault) {
  if (fault_ == BodyFault::none) fault_ = fault;
}

void DataReader::emit(std::string_view view, Slices& content) {
  if (fault_ != BodyFault::none || view.empty()) return;
  content_octets_ += view.size();
  content.push_back(view);
}

std::size_t DataReader::feed(std::string_view bytes, Slices& content) {
  std::size_t at = 0;
  while (at < bytes.size() && !done_) {
    switch (state_) {
      case State::line_start:
      case State::text:
      case State::cr:
        if (fault_ != BodyFault::none) at += skip_refused(bytes.substr(at));
        at += read_text(bytes.substr(at), content);
        break;
      default:
        at += read_framing(bytes[at], content);
    }
  }
  return at;
}

// The bulk: everything up to the next octet that is not plainly content, and that octet.
std::size_t DataReader::read_text(std::string_view bytes, Slices& content) {
  const bool held = state_ == State::cr;
  LinePosition position{held, state_ == State::line_start};
  const std::size_t run = plain_run<true>(bytes.data(), bytes.size(), position, eight_bit_);
  if (run > 0) {
    if (held) emit(held_cr, content);  // the run begins with its LF
    emit(bytes.substr(0, run - (position.after_cr ? 1 : 0)), content);
    state_ = position.after_cr ? State::cr : position.line_start ? State::line_start : State::text;
  }
  if (run == bytes.size()) return run;
  if (bytes[run] == '.' && state_ == State::line_start) {
    if (const std::size_t stuffed = read_stuffed(bytes.substr(run), content); stuffed > 0)
      return run + stuffed;
  }
  return run + read_odd(bytes[run], content);
}

// Nobody is given the rest of a message with a fault: only its end matters. Passes over what can not be a
// part of it, and leaves at least one octet.
std::size_t DataReader::skip_refused(std::string_view bytes) {
  constexpr std::size_t line_end = 2;  // before the dot
  if (state_ == State::line_start && bytes.front() == '.') return 0;
  std::size_t from = 0;
  bool line_start = false;
  while (bytes.size() > from) {
    const std::size_t found = find_at_line_start<'.'>(bytes.substr(from), line_start);
    const std::size_t dot = found == std::string_view::npos ? bytes.size() : from + found;
    const bool possible =
        dot + 1 >= bytes.size() || (bytes[dot + 1] == '\r' && (dot < line_end || bytes[dot - 2] == '\r'));
    if (possible) {
      if (dot <= line_end) return 0;
      state_ = State::text;
      return dot - line_end;
    }
    from = dot + 1;
    line_start = false;
  }
  return 0;
}

// Lines that begin with a stuffed dot, in whole blocks that hold nothing else to think about: each dot costs
// a cut here instead of a search of its own. Begins at such a dot; returns 0 where the lines must be looked
// at one by one.
std::size_t DataReader::read_stuffed(std::string_view bytes, Slices& content) {
  std::size_t at = 0;
  std::size_t from = 0;  // of the next slice
  std::uint64_t cr_before = 0, lf_before = 1;
  // The octet behind the block tells whether its last one is a stuffed dot.
  while (bytes.size() - at > scan_block_octets) {
    const OctetBlock block(bytes.data() + at);
    const std::uint64_t cr = block.equal_to('\r');
    const std::uint64_t lf = block.equal_to('\n');
    const std::uint64_t dots = block.equal_to('.') & (lf << 1 | lf_before);
    const char behind = bytes[at + scan_block_octets];
    const std::uint64_t line_ends = cr | lf;
    const bool end_behind = behind == '\r' || behind == '\n';
    const std::uint64_t lone = dots & (line_ends >> 1 | std::uint64_t{end_behind} << (scan_block_octets - 1));
    if (dots == 0 || lone != 0 || (lf ^ (cr << 1 | cr_before)) != 0 || block.any_nul()) break;
    for (std::uint64_t left = dots; left != 0; left &= left - 1) {
      const std::size_t dot = at + static_cast<std::size_t>(std::countr_zero(left));
      emit(bytes.substr(from, dot - from), content);
      from = dot + 1;
    }
    eight_bit_ = eight_bit_ || block.any_high();
    cr_before = cr >> (scan_block_octets - 1);
    lf_before = lf >> (scan_block_octets - 1);
    at += scan_block_octets;
  }
  if (at == 0) return 0;
  emit(bytes.substr(from, at - from - cr_before), content);
  state_ = cr_before != 0 ? State::cr : lf_before != 0 ? State::line_start : State::text;
  return at;
}

// `octet` can not simply follow in the state we are in. Returns 1 when it is dealt with, 0 when it is
// to be looked at again in the new state.
std::size_t DataReader::read_odd(char octet, Slices& content) {
  if (state_ == State::cr) {
    meet(BodyFault::bare_cr);
    state_ = State::text;
    return 0;
  }
  if (octet == '.') {
    state_ = State::dot;
    return 1;
  }
  state_ = State::text;
  if (octet == '\0') {
    meet(BodyFault::nul);
  } else if (bare_lf_ == BareLf::refuse) {
    meet(BodyFault::bare_lf);
  } else {
    emit(crlf, content);
    state_ = State::lf_start;
  }
  return 1;
}

// The states around a dot that begins a line. Returns as read_odd() does.
std::size_t DataReader::read_framing(char octet, Slices& content) {
  const State before = state_;
  state_ = State::text;
  switch (before) {
    case State::dot:
      if (octet == '\r') {
        state_ = State::dot_cr;
        return 1;
      }
      // CRLF.LF is a line with one dot, never the end; with any other octet the dot was stuffed.
      if (octet == '\n' && bare_lf_ == BareLf::normalize) emit(held_dot, content);
      return 0;
    case State::dot_cr:
      if (octet != '\n') {
        meet(BodyFault::bare_cr);
        return 0;
      }
      done_ = true;
      return 1;
    case State::lf_start:
      if (octet != '.') return 0;
      state_ = State::lf_dot;
      return 1;
    case State::lf_dot:
      if (octet != '.') emit(held_dot, content);
      return 0;
    default:
      return 0;
  }
}

// --- DataWriter -------------------------------------------------------------------------------------

void DataWriter::feed(std::string_view content, Slices& out) {
  while (!content.empty()) {
    const std::size_t dot = find_at_line_start<'.'>(content, line_start_);
    if (dot == std::string_view::npos) {
      out.push_back(content);
      return;
    }
    // The dot goes out twice: as the last octet of this view and the first of the next.
    out.push_back(content.substr(0, dot + 1));
    content.remove_prefix(dot);
    line_start_ = false;
  }
}

void DataWriter::feed_cut_at_dots(std::string_view content, Slices& out) {
  if (content.empty()) return;
  if (line_start_ && content.front() == '.') out.push_back(held_dot);
  out.push_back(content);
  line_start_ = content.back() == '\n';
}

std::string_view DataWriter::finish() const { return line_start_ ? ".\r\n" : "\r\n.\r\n"; }

}  // namespace portcullis::smtp
