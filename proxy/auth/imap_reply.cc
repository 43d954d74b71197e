#include "proxy/auth/imap_reply.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace portcullis::auth {

namespace {

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

std::string upper(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) { return upper(c); });
  return out;
}

// Takes the word before the next blank off the front.
std::string_view take_word(std::string_view& text) {
  const std::size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

ImapReply::Status status_of(std::string_view word) {
  using Status = ImapReply::Status;
  const std::string name = upper(word);
  if (name == "OK") return Status::ok;
  if (name == "NO") return Status::no;
  if (name == "BAD") return Status::bad;
  if (name == "BYE") return Status::bye;
  if (name == "PREAUTH") return Status::preauth;
  return Status::none;
}

bool is_tag(std::string_view word) {
  return !word.empty() && std::ranges::all_of(word, [](char c) {
    return c > ' ' && c <= '~' && std::string_view("(){%*\"\\+").find(c) == std::string_view::npos;
  });
}

// nullopt: not IMAP.
std::optional<ImapReply> parse_reply(std::string_view line) {
  ImapReply reply;
  if (line == "+" || line.starts_with("+ ")) {
    reply.kind = ImapReply::Kind::continuation;
    reply.text = line.substr(std::min<std::size_t>(2, line.size()));
    return reply;
  }
  const std::string_view first = take_word(line);
  if (first != "*") {
    if (!is_tag(first)) return std::nullopt;
    reply.kind = ImapReply::Kind::tagged;
    reply.tag = first;
  }
  std::string_view rest = line;
  reply.status = status_of(take_word(rest));
  const bool needs_status = reply.kind == ImapReply::Kind::tagged;
  if (reply.status == ImapReply::Status::none) {
    if (needs_status || line.empty()) return std::nullopt;
    reply.text = line;
    return reply;
  }
  // Only OK, NO and BAD may be tagged (RFC 3501 section 7.1).
  if (needs_status && reply.status > ImapReply::Status::bad) return std::nullopt;
  if (rest.starts_with('[')) {
    const std::size_t end = rest.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view code = rest.substr(1, end - 1);
    reply.code = upper(take_word(code));
    reply.arguments = code;
    rest.remove_prefix(end + 1);
    if (rest.starts_with(' ')) rest.remove_prefix(1);
  }
  reply.text = rest;
  return reply;
}

// "… {123}" at the end of a line of data announces so many octets. Status responses end in free text,
// where such a thing means nothing.
std::optional<std::size_t> literal_at_end(std::string_view line) {
  if (!line.ends_with('}') || !line.starts_with("* ")) return std::nullopt;
  std::string_view rest = line.substr(2);
  if (status_of(take_word(rest)) != ImapReply::Status::none) return std::nullopt;
  const std::size_t open = line.rfind('{');
  if (open == std::string_view::npos) return std::nullopt;
  const std::string_view digits = line.substr(open + 1, line.size() - open - 2);
  std::size_t octets = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), octets);
  if (end != digits.data() + digits.size() || digits.empty()) return std::nullopt;
  return error == std::errc() ? octets : ImapParser::literal_octets_max + 1;
}

}  // namespace

ImapParser::Status ImapParser::next(ImapReply& reply) {
  while (!broken_) {
    const std::size_t skip = std::min(literal_left_, buffer_.size());
    buffer_.erase(0, skip);
    literal_left_ -= skip;
    if (literal_left_ > 0) return Status::need_more;

    const std::size_t end = buffer_.find_first_of(std::string_view("\r\n\0", 3));
    const std::size_t taken = std::min(end, buffer_.size());
    if (line_.size() + taken > reply_octets_max) break;
    const bool have_line = end != std::string::npos && end + 1 < buffer_.size();
    if (end == std::string::npos || (buffer_[end] == '\r' && !have_line)) {
      line_.append(buffer_, 0, taken);
      buffer_.erase(0, taken);
      return Status::need_more;
    }
    if (buffer_[end] != '\r' || buffer_[end + 1] != '\n') break;  // bare CR, bare LF, NUL
    line_.append(buffer_, 0, end);
    buffer_.erase(0, end + 2);
    if (const auto octets = literal_at_end(line_)) {
      if (*octets > literal_octets_max) break;
      literal_left_ = *octets;
      line_ += ' ';  // so that the same "{n}" is not read twice
      continue;
    }
    auto parsed = parse_reply(line_);
    line_.clear();
    if (!parsed) break;
    reply = std::move(*parsed);
    return Status::reply;
  }
  broken_ = true;
  return Status::malformed;
}

ImapCapabilities parse_capabilities(std::string_view words) {
  ImapCapabilities found;
  while (!words.empty()) {
    const std::string word = upper(take_word(words));
    if (word == "STARTTLS") found.starttls = true;
    if (word == "LOGINDISABLED") found.login_disabled = true;
    if (word == "SASL-IR") found.sasl_ir = true;
    if (word == "AUTH=PLAIN") found.auth_plain = true;
    if (word == "AUTH=XOAUTH2") found.auth_xoauth2 = true;
    if (word == "AUTH=OAUTHBEARER") found.auth_oauthbearer = true;
  }
  return found;
}

}  // namespace portcullis::auth
