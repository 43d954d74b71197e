#include "smtp/authentication_results.h"

#include <algorithm>

#include "smtp/ascii.h"

namespace portcullis::smtp {
namespace {

constexpr std::string_view field_name = "Authentication-Results";

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Takes white space and comments, which nest (RFC 5322 3.2.2), off the front of `text`.
void skip_cfws(std::string_view& text) {
  std::size_t depth = 0;
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '(') {
      ++depth;
    } else if (depth == 0) {
      if (!is_space(c)) break;
    } else if (c == ')') {
      --depth;
    } else if (c == '\\') {
      ++at;
    }
  }
  text.remove_prefix(std::min(at, text.size()));
}

// Whether the line that `block` begins with begins such a field; `body`: what follows the colon. Some readers
// take white space before the colon (RFC 5322 4.5).
bool begins_results(std::string_view block, std::string_view& body) {
  if (!starts_with_ignoring_case(block, field_name)) return false;
  block.remove_prefix(field_name.size());
  while (!block.empty() && is_blank(block.front())) block.remove_prefix(1);
  if (!block.starts_with(':')) return false;
  body = block.substr(1);
  return true;
}

// Octets of the field that `block` begins with, its continuation lines included.
std::size_t field_octets(std::string_view block) {
  std::size_t at = 0;
  do {
    at = std::min(block.find('\n', at), block.size() - 1) + 1;
  } while (at < block.size() && is_blank(block[at]));
  return at;
}

}  // namespace

std::string authserv_id(std::string_view body) {
  skip_cfws(body);
  std::string id;
  if (body.starts_with('"')) {
    for (std::size_t i = 1; i < body.size() && body[i] != '"'; ++i) {
      if (body[i] == '\\' && i + 1 < body.size()) ++i;
      if (body[i] != '\r' && body[i] != '\n') id += body[i];
    }
    return id;
  }
  for (const char c : body) {
    if (is_space(c) || std::string_view("()<>@,;:\\\"/[]?=").contains(c)) break;
    id += c;
  }
  return id;
}

std::size_t append_without_results(std::string& out, std::string_view block,
                                   const std::function<bool(std::string_view)>& is_ours) {
  std::size_t removed = 0;
  std::size_t kept = 0;  // from here on nothing is copied yet
  for (std::size_t at = 0; at < block.size();) {
    const std::size_t octets = field_octets(block.substr(at));
    const std::string_view field = block.substr(at, octets);
    std::string_view body;
    if (begins_results(field, body) && is_ours(authserv_id(body))) {
      out += block.substr(kept, at - kept);
      kept = at + octets;
      ++removed;
    }
    at += octets;
  }
  out += block.substr(kept);
  return removed;
}

}  // namespace portcullis::smtp
