// What the two peers of a session may conclude from its bytes: written from the RFCs alone, without the
// code under test, so that laws.h can hold the one against the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace portcullis::session::testing {

// What happens when a law is broken. The fuzz target stops at once; a unit test sets one that fails the test.
inline void (*law_broken)(const char* law) = [](const char* law) {
  std::fprintf(stderr, "broken: %s\n", law);
  std::abort();
};

inline void require(bool holds, const char* law) {
  if (!holds) law_broken(law);
}

inline std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

// Undoes dot-stuffing up to CRLF.CRLF; nothing when that has not come. `used`: octets with the end.
inline std::optional<std::string> strict_data(std::string_view bytes, std::size_t& used) {
  std::string content;
  for (std::size_t at = 0;;) {
    const std::size_t end = bytes.find("\r\n", at);
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view line = bytes.substr(at, end - at);
    at = end + 2;
    if (line == ".") {
      used = at;
      return content;
    }
    if (line.starts_with('.')) line.remove_prefix(1);
    content.append(line);
    content += "\r\n";
  }
}

// "BDAT size [LAST]" of a line; nothing if it is not exactly that.
struct Chunk {
  std::size_t size;
  bool last;
};
inline std::optional<Chunk> strict_bdat(std::string_view line) {
  if (upper(line.substr(0, 5)) != "BDAT ") return std::nullopt;
  line.remove_prefix(5);
  std::size_t digits = 0;
  Chunk chunk{0, false};
  for (; digits < line.size() && line[digits] >= '0' && line[digits] <= '9'; ++digits) {
    if (digits > 8) return std::nullopt;
    chunk.size = chunk.size * 10 + static_cast<std::size_t>(line[digits] - '0');
  }
  line.remove_prefix(digits);
  chunk.last = upper(line) == " LAST";
  return digits > 0 && (chunk.last || line.empty()) ? std::optional(chunk) : std::nullopt;
}

// A reply as a client reads it: code and all lines as they stand.
struct SeenReply {
  unsigned code;
  std::string text;
};
// Takes the first complete reply from `bytes`. `broken`: they can not become one.
inline std::optional<SeenReply> take_reply(std::string_view& bytes, bool& broken) {
  std::size_t at = 0;
  std::optional<unsigned> code;
  for (;;) {
    const std::size_t end = bytes.find('\n', at);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view line = bytes.substr(at, end - at);
    unsigned value = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      broken |= i >= line.size() || line[i] < '0' || line[i] > '9';
      if (broken) return std::nullopt;
      value = value * 10 + static_cast<unsigned>(line[i] - '0');
    }
    broken |= code && *code != value;
    const char separator = line.size() > 3 ? line[3] : ' ';
    broken |= separator != ' ' && separator != '-' && separator != '\r';
    if (broken) return std::nullopt;
    code = value;
    at = end + 1;
    if (separator == '-') continue;
    SeenReply reply{value, std::string(bytes.substr(0, at))};
    bytes.remove_prefix(at);
    return reply;
  }
}

// A strict server on one connection: what it would have been asked, and which messages it got whole.
class UpstreamModel {
 public:
  enum class Ask : std::uint8_t { other, rcpt, data, message };

  // What the gateway has sent since the last time.
  void sent(std::string_view bytes) {
    for (const char c : bytes) {
      require(c != '\0', "no NUL goes upstream");
      require((last_ == '\r') == (c == '\n'), "no bare CR or LF goes upstream");
      last_ = c;
    }
    unread_ += bytes;
    while (step()) {
    }
  }

  // The server says `bytes` in one piece. Which of its replies answered something that had been asked by
  // then; after bytes that answered nothing, or were no reply, the connection counts as lost.
  struct Answer {
    Ask to;
    SeenReply reply;
    std::size_t message;  // into messages, for Ask::message
  };
  std::vector<Answer> says(std::string_view bytes) {
    std::vector<Answer> answers;
    said_ += bytes;
    std::string_view rest = said_;
    for (std::size_t left = asked_.size(); !lost_ && !rest.empty();) {
      bool broken = false;
      if (left == 0) break;
      const std::optional<SeenReply> reply = take_reply(rest, broken);
      lost_ |= broken;
      if (!reply) break;
      --left;
      answers.push_back({asked_.front().to, *reply, asked_.front().message});
      if (asked_.front().to == Ask::data) {
        in_data_ = reply->code == 354;
        data_asked_ = false;
      }
      asked_.pop_front();
      lost_ |= reply->code == 421;
      if (left == 0 && !rest.empty()) lost_ = true;
    }
    if (asked_.empty() && answers.empty() && !rest.empty()) lost_ = true;
    said_ = rest;
    return answers;
  }

  bool data_next() const { return !asked_.empty() && asked_.front().to == Ask::data; }
  bool owes() const { return !asked_.empty() && !lost_; }
  std::vector<std::string> messages;  // content with its end, as this server reads it

 private:
  struct Asked {
    Ask to;
    std::size_t message;
  };

  bool step() {
    std::size_t used = 0;
    if (in_data_) {
      std::optional<std::string> content = strict_data(unread_, used);
      if (!content) return false;
      in_data_ = false;
      finish(std::move(*content));
      unread_.erase(0, used);
      return true;
    }
    const std::size_t end = unread_.find("\r\n");
    if (end == std::string::npos) return false;
    const std::string line = unread_.substr(0, end);
    if (const std::optional<Chunk> chunk = strict_bdat(line)) {
      if (unread_.size() - end - 2 < chunk->size) return false;
      chunks_ += unread_.substr(end + 2, chunk->size);
      unread_.erase(0, end + 2 + chunk->size);
      if (!chunk->last) {
        asked_.push_back({Ask::other, 0});
        return true;
      }
      require(asked_.empty(), "the end of a message is sent when no other reply is owed");
      finish(std::exchange(chunks_, {}));
      return true;
    }
    unread_.erase(0, end + 2);
    require(!data_asked_, "nothing is sent before the answer to DATA");
    const std::string verb = line.substr(0, 5);
    require(line.size() < 2500 && (verb == "MAIL " || verb == "RCPT " || line == "DATA" || line == "RSET" ||
                                   verb == "XFORW" || line == "QUIT"),
            "only known commands go upstream");
    if (line == "RSET") chunks_.clear();
    data_asked_ = line == "DATA";
    asked_.push_back({verb == "RCPT " ? Ask::rcpt : data_asked_ ? Ask::data : Ask::other, 0});
    return true;
  }
  void finish(std::string content) {
    asked_.push_back({Ask::message, messages.size()});
    messages.push_back(std::move(content));
  }

  std::string unread_, said_, chunks_;
  std::deque<Asked> asked_;
  char last_ = '\0';
  bool in_data_ = false, data_asked_ = false, lost_ = false;
};

}  // namespace portcullis::session::testing
