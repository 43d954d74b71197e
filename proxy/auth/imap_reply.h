// What an IMAP server says (RFC 3501 section 7, RFC 9051), as far as a login needs it. Pure, incremental,
// bounded: the same replies come out however TCP cut the stream, and a server that sends too much or
// something else than IMAP is an error, not a growing buffer.
//
//   parser.append(bytes);
//   while (parser.next(reply) == ImapParser::Status::reply) …
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis::auth {

struct ImapReply {
  enum class Kind : std::uint8_t { untagged, tagged, continuation } kind = Kind::untagged;
  // Of a status response; none for data ("* CAPABILITY …") and continuations.
  enum class Status : std::uint8_t { none, ok, no, bad, bye, preauth } status = Status::none;
  std::string tag;        // of a tagged reply
  std::string code;       // first word of the response code, upper case: "AUTHENTICATIONFAILED"
  std::string arguments;  // the rest of the response code
  std::string text;       // human text, or the data of an untagged reply, or of a continuation
};

class ImapParser {
 public:
  static constexpr std::size_t reply_octets_max = 16384;  // literals not counted
  static constexpr std::size_t literal_octets_max = 65536;

  enum class Status : std::uint8_t { need_more, reply, malformed };

  // Bytes beyond what is needed for one reply are kept; the caller feeds reads of bounded size.
  void append(std::string_view bytes) { buffer_.append(bytes); }
  // Takes one reply off the front. After `malformed` the connection is of no use.
  Status next(ImapReply& reply);
  // Whether bytes are there that nobody took yet (after STARTTLS there must be none).
  bool empty() const { return buffer_.empty() && line_.empty() && literal_left_ == 0; }

 private:
  std::string buffer_;
  std::string line_;  // of the reply so far, literals left out
  std::size_t literal_left_ = 0;
  bool broken_ = false;
};

// What a capability list says about logging in; words in any case.
struct ImapCapabilities {
  bool starttls = false;
  bool login_disabled = false;
  bool sasl_ir = false;
  bool auth_plain = false;
  bool auth_xoauth2 = false;
  bool auth_oauthbearer = false;
};
ImapCapabilities parse_capabilities(std::string_view words);

}  // namespace portcullis::auth
