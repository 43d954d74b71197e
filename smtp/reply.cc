#include "smtp/reply.h"

#include <algorithm>
#include <array>
#include <utility>

#include "smtp/ascii.h"
#include "smtp/limits.h"
#include "smtp/octet_search.h"
#include "smtp/utf8.h"

namespace portcullis::smtp {
namespace {

// RFC 5321 4.5.3.1.5: a reply line of ours, CRLF included.
constexpr std::size_t our_line_octets = 512;

// Appends `text` with every octet that could break a line or a terminal replaced. '\n' goes
// through where `keep_lf` says so.
void append_clean(std::string& out, std::string_view text, bool keep_lf) {
  while (!text.empty()) {
    // Runs of printable ASCII, nearly always the whole text, in one go.
    std::size_t octets = find_octet<NotPrintable>(text);
    if (octets == 0) octets = utf8_visible_octets(text);
    if (octets == 0 && (text[0] == '\t' || (keep_lf && text[0] == '\n'))) octets = 1;
    if (octets == 0) {
      out += '?';
      text.remove_prefix(1);
    } else {
      out += text.substr(0, octets);
      text.remove_prefix(octets);
    }
  }
}

// Octets of the enhanced status code (RFC 3463: class "." 1*3digit "." 1*3digit) at the front of
// `text`, 0 when there is none or its class is not that of `code`.
std::size_t enhanced_octets(std::string_view text, std::uint16_t code) {
  if (text.empty() || text[0] != static_cast<char>('0' + code / 100) || text[0] == '3') return 0;
  std::size_t at = 1;
  for (int part = 0; part < 2; ++part) {
    if (at >= text.size() || text[at] != '.') return 0;
    const std::size_t first = ++at;
    while (at < text.size() && is_digit(text[at])) ++at;
    if (at == first || at - first > 3) return 0;
  }
  return at == text.size() || text[at] == ' ' ? at : 0;
}

// The code a reply line starts with, 0 when it is none that SMTP knows.
std::uint16_t code_of(std::string_view line) {
  if (line.size() < 3 || !std::ranges::all_of(line.substr(0, 3), is_digit)) return 0;
  const int code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
  return code >= 200 && code <= 599 ? static_cast<std::uint16_t>(code) : std::uint16_t{0};
}

}  // namespace

void append_wire(std::string& out, const Reply& reply) {
  std::array<char, 4> code = {static_cast<char>('0' + reply.code / 100 % 10),
                              static_cast<char>('0' + reply.code / 10 % 10),
                              static_cast<char>('0' + reply.code % 10), '-'};
  std::string_view rest = reply.text;
  for (bool last = false; !last;) {
    const std::size_t line_start = out.size();
    const std::size_t end = rest.find('\n');
    last = end == std::string_view::npos;
    const std::string_view text = rest.substr(0, end);
    if (last) {
      code[3] = ' ';
    } else {
      rest.remove_prefix(end + 1);
    }
    out.append(code.data(), code.size());
    append_clean(out, reply.enhanced, false);
    if (!reply.enhanced.empty() && !text.empty()) out += ' ';
    append_clean(out, text.substr(0, our_line_octets), false);
    if (out.size() - line_start > our_line_octets - 2) {
      const std::string_view line = std::string_view(out).substr(line_start);
      out.resize(line_start + utf8_prefix(line, our_line_octets - 2).size());
    }
    out += "\r\n";
  }
}

std::string_view generic_enhanced_code(std::uint16_t code) {
  switch (code / 100) {
    case 2:
      return "2.0.0";
    case 4:
      return "4.0.0";
    case 5:
      return "5.0.0";
    default:
      return "";
  }
}

std::string cleaned_text(std::string_view text, std::size_t max_octets) {
  const std::string_view kept = utf8_prefix(text, max_octets);
  std::string out;
  out.reserve(kept.size());
  append_clean(out, kept, true);
  return out;
}

std::size_t ReplyParser::feed(std::string_view bytes) {
  std::size_t consumed = 0;
  while (status_ == Status::need_more && consumed < bytes.size()) {
    const std::string_view rest = bytes.substr(consumed);
    const std::size_t lf = rest.find('\n');
    const std::string_view piece = rest.substr(0, lf);
    if (line_.size() + piece.size() > limits::reply_line_octets) {
      status_ = Status::malformed;
    } else if (lf == std::string_view::npos) {
      line_ += piece;
      return bytes.size();
    } else if (line_.empty()) {
      status_ = finish_line(piece);  // the usual case: no copy
    } else {
      line_ += piece;
      status_ = finish_line(line_);
    }
    line_.clear();
    consumed += piece.size() + 1;
  }
  // After nonsense nothing of this peer can be trusted any more: swallow it all.
  return status_ == Status::malformed ? bytes.size() : consumed;
}

ReplyParser::Status ReplyParser::finish_line(std::string_view line) {
  while (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  const std::uint16_t code = code_of(line);
  if (code == 0 || (lines_ > 0 && code != reply_.code)) return Status::malformed;
  if (line.size() > 3 && line[3] != ' ' && line[3] != '-') return Status::malformed;
  const bool last = line.size() == 3 || line[3] == ' ';
  std::string_view text = line.substr(std::min<std::size_t>(4, line.size()));

  const std::size_t enhanced = enhanced_octets(text, code);
  if (enhanced > 0 && lines_ == 0) reply_.enhanced = text.substr(0, enhanced);
  if (enhanced > 0 && (lines_ == 0 || text.substr(0, enhanced) == reply_.enhanced)) {
    text.remove_prefix(std::min(enhanced + 1, text.size()));
  }
  if (++lines_ > limits::reply_lines) return Status::malformed;
  if (reply_.text.size() + 1 + text.size() > limits::reply_text_octets) return Status::malformed;
  if (lines_ > 1) reply_.text += '\n';
  reply_.text += text;
  reply_.code = code;
  return last ? Status::complete : Status::need_more;
}

Reply ReplyParser::take() {
  lines_ = 0;
  status_ = Status::need_more;
  line_.clear();
  Reply taken = std::move(reply_);
  reply_.code = 0;
  reply_.enhanced.clear();
  reply_.text.clear();
  return taken;
}

}  // namespace portcullis::smtp
