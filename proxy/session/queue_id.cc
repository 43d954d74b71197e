#include "proxy/session/queue_id.h"

#include <algorithm>

namespace portcullis::session {

namespace {

constexpr std::size_t queue_id_octets = 128;

bool is_bracket(char c) { return c == '<' || c == '>'; }

// Up to a blank, its brackets left out.
std::string first_word(std::string_view text) {
  std::string word;
  while (word.size() < queue_id_octets) {
    std::size_t run = 0;
    while (run < text.size() && text[run] > ' ' && text[run] < 127 && !is_bracket(text[run])) ++run;
    word.append(text, 0, std::min(run, queue_id_octets - word.size()));
    text.remove_prefix(run);
    if (text.empty() || !is_bracket(text.front())) break;
    text.remove_prefix(1);
  }
  return word;
}

}  // namespace

std::string queue_id(std::string_view reply_text) {
  for (const std::string_view mark : {"queued as ", "id=", "Queued as "}) {
    const std::size_t at = reply_text.find(mark);
    if (at != std::string_view::npos) return first_word(reply_text.substr(at + mark.size()));
  }
  for (const std::string_view mark : {" Message accepted for delivery", " Queued mail for delivery"}) {
    if (reply_text.find(mark) != std::string_view::npos) return first_word(reply_text);
  }
  return {};
}

}  // namespace portcullis::session
