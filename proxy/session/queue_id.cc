#include "proxy/session/queue_id.h"

#include <algorithm>

namespace portcullis::session {

namespace {

constexpr std::size_t queue_id_octets = 128;

std::string first_word(std::string_view text) {
  const auto end = std::ranges::find_if(text, [](char c) { return c <= ' ' || c >= 127; });
  std::string word(text.begin(), end);
  std::erase_if(word, [](char c) { return c == '<' || c == '>'; });
  if (word.size() > queue_id_octets) word.resize(queue_id_octets);
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
