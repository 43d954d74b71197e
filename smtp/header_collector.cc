#include <algorithm>

#include "smtp/header.h"
#include "smtp/octet_scan.h"

namespace portcullis::smtp {
namespace {

constexpr std::string_view end_of_header = "\r\n\r\n";

// How many octets of end_of_header have been seen after `c`, given how many before it.
constexpr std::size_t matched_after(std::size_t matched, char c) {
  if (c == end_of_header[matched]) return matched + 1;
  return c == '\r' ? 1 : 0;
}

// Index of the first end_of_header in `content`: of a line that begins with CR, looked at more closely.
std::size_t find_end_of_header(std::string_view content) {
  std::size_t from = 0;
  while (true) {
    bool line_start = false;
    const std::size_t found = find_at_line_start<'\r'>(content.substr(from), line_start);
    if (found == std::string_view::npos) return found;
    from += found;
    const std::size_t begin = from - std::min<std::size_t>(from, 2);
    if (content.substr(begin).starts_with(end_of_header)) return begin;
  }
}

}  // namespace

// Index after the empty line; npos when it is not in `content`.
std::size_t HeaderCollector::find_end(std::string_view content) {
  std::size_t at = 0;
  while (matched_ > 0 && at < content.size()) {
    matched_ = matched_after(matched_, content[at++]);
    if (matched_ == end_of_header.size()) return at;
  }
  if (at == content.size()) return std::string_view::npos;
  const std::size_t found = find_end_of_header(content.substr(at));
  if (found != std::string_view::npos) return at + found + end_of_header.size();
  const std::size_t tail = content.size() - at < end_of_header.size() ? at : content.size() - 3;
  for (const char c : content.substr(tail)) matched_ = matched_after(matched_, c);
  return std::string_view::npos;
}

std::size_t HeaderCollector::feed(std::string_view content) {
  if (complete_) return 0;
  if (too_large_) return content.size();
  const std::size_t end = find_end(content);
  complete_ = end != std::string_view::npos;
  const std::size_t taken = complete_ ? end : content.size();
  if (taken > max_octets_ - block_.size()) {
    complete_ = false;
    too_large_ = true;
    return content.size();
  }
  block_ += content.substr(0, taken);
  return taken;
}

std::string HeaderCollector::release() { return std::move(block_); }

}  // namespace portcullis::smtp
