#include "proxy/session/queue_id.h"

#include <array>

namespace portcullis::session {

namespace {

constexpr std::size_t queue_id_octets = 128;

constexpr bool is_bracket(char c) { return c == '<' || c == '>'; }

// Printable, and no bracket.
constexpr auto id_octets = [] {
  std::array<bool, 256> table{};
  for (unsigned char octet = '!'; octet < 0x7f; ++octet) table[octet] = !is_bracket(static_cast<char>(octet));
  return table;
}();

std::string_view id_run(std::string_view text) {
  std::size_t size = 0;
  while (size < text.size() && id_octets[static_cast<unsigned char>(text[size])]) ++size;
  return text.substr(0, size);
}

// Up to a blank, its brackets left out.
std::string first_word(std::string_view text) {
  std::string_view run = id_run(text);
  std::string word(run.substr(0, queue_id_octets));
  while (word.size() < queue_id_octets && run.size() < text.size() && is_bracket(text[run.size()])) {
    text.remove_prefix(run.size() + 1);
    run = id_run(text);
    word += run.substr(0, queue_id_octets - word.size());
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
