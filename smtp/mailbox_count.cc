#include <algorithm>

#include "smtp/address_list.h"
#include "smtp/ascii.h"

namespace portcullis::smtp {
namespace {

// One element of a list, as a reader would see it that knows nothing but '@' and angle brackets.
struct Entry {
  bool text = false;
  std::size_t angles = 0, ats = 0;
  std::size_t mailboxes() const { return std::max({angles, ats, std::size_t{text}}); }
};

// Length of the quoted string, comment, angle address or domain literal at the front of `text`; npos
// when it has no end.
std::size_t enclosed_octets(std::string_view text) {
  const char open = text.front();
  if (open == '<' || open == '[') {
    const std::size_t end = text.find(open == '<' ? '>' : ']');
    return end == std::string_view::npos ? end : end + 1;
  }
  const char close = open == '"' ? '"' : ')';
  std::size_t depth = 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == close) {
      if (depth == 0) return i + 1;
      --depth;
    } else if (text[i] == open) {
      ++depth;
    }
  }
  return std::string_view::npos;
}

}  // namespace

std::size_t count_mailboxes(std::string_view text) {
  std::size_t count = 0;
  Entry entry;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"' || c == '(' || c == '<' || c == '[') {
      const std::size_t octets = enclosed_octets(text.substr(at));
      if (octets == std::string_view::npos) {
        // Who forgives this reads the rest somehow: every '@' may be an address.
        return count + entry.mailboxes() + static_cast<std::size_t>(std::ranges::count(text.substr(at), '@'));
      }
      entry.text = entry.text || c == '"';
      if (c == '<') ++entry.angles;
      at += octets;
      continue;
    }
    if (c == ',' || c == ';') {
      count += entry.mailboxes();
      entry = {};
    } else if (c == ':') {
      entry.text = false;  // the name of a group
    } else {
      entry.text = entry.text || !is_blank(c);
      if (c == '@') ++entry.ats;
    }
    ++at;
  }
  return count + entry.mailboxes();
}

}  // namespace portcullis::smtp
