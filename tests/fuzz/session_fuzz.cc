// A whole session between two hostile peers. The input is a program: what the client sends and in how
// many pieces, what the upstream says, how AUTH, TLS and connecting end, time-outs, losses, drain.
// The laws (tests/proxy/session/laws.h) are checked after every event.
#include <array>
#include <string>
#include <string_view>

#include "tests/proxy/session/harness.h"
#include "tests/proxy/session/laws.h"

namespace {

using namespace portcullis;
using session::testing::Harness;
using session::testing::Laws;
using session::testing::require;
using session::testing::Setup;

constexpr std::size_t read_octets = Laws::read_octets;

constexpr std::array<std::string_view, 32> client_lines = {
    "EHLO client.test\r\n",
    "MAIL FROM:<a@else.test>\r\n",
    "RCPT TO:<b@example.com>\r\n",
    "DATA\r\n",
    "From: a@else.test\r\n\r\n",
    "hello\r\n",
    ".\r\n",
    "RSET\r\n",
    "BDAT 27 LAST\r\nFrom: a@else.test\r\n\r\nline\r\n",
    "BDAT 21\r\nFrom: a@else.test\r\n\r\n",
    "BDAT 5\r\nabcd\r",
    "BDAT 3 LAST\r\n.\r\n",
    "BDAT 0 LAST\r\n",
    "QUIT\r\n",
    "NOOP\r\n",
    "STARTTLS\r\n",
    "AUTH PLAIN AGEAYg==\r\n",
    "AUTH LOGIN\r\n",
    "RCPT TO:<c@far.test>\r\n",
    "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n",
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r\n.\r\n",
    "\r\n.\r\nMAIL FROM:<x@else.test>\r\n",
    "XCLIENT ADDR=192.0.2.9 LOGIN=a@example.com HELO=named.test\r\n",
    "XCLIENT ADDR=198.51.100.1\r\n",
    "XFORWARD ADDR=198.51.100.2 HELO=far.test SOURCE=REMOTE\r\n",
    "AUTH EXTERNAL =\r\n",
    "AUTH PLAIN\r\n",
    "*\r\n"};
constexpr std::array<std::uint16_t, 16> codes = {250, 354, 250, 550, 450, 421, 251, 252,
                                                 220, 221, 150, 334, 999, 0,   552, 250};

// Bytes of the program, consumed from the front.
class Program {
 public:
  Program(const std::uint8_t* data, std::size_t size)
      : bytes_(reinterpret_cast<const char*>(data), size) {}  // NOLINT: octets as char
  bool over() const { return bytes_.empty(); }
  std::size_t next(std::size_t bound) {
    if (bytes_.empty()) return 0;
    const auto octet = static_cast<std::uint8_t>(bytes_.front());
    bytes_.remove_prefix(1);
    return octet % bound;
  }
  std::string_view piece(std::size_t size) {
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(taken.size());
    return taken;
  }

 private:
  std::string_view bytes_;
};

class Drill {
 public:
  Drill(const Setup& setup, bool reuse)
      : messages_per_day_(setup.trusted_peer ? 0 : setup.messages_per_day),  // XCLIENT names other clients
        h_(setup),
        laws_(started(h_, reuse), normalizes(setup)) {}

  void run(Program& program) {
    while (!program.over() && !h_.session().finished()) step(program);
    flush();
    laws_.end(false);
    require(messages_per_day_ == 0 || laws_.acknowledged() <= messages_per_day_, "a rate holds");
  }

 private:
  static Harness& started(Harness& harness, bool reuse) {
    harness.reuse = reuse;
    harness.start();
    return harness;
  }
  static bool normalizes(const Setup& setup) { return setup.bare_lf == smtp::BareLf::normalize; }

  void step(Program& program) {
    switch (program.next(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        to_client(client_lines[program.next(client_lines.size())]);
        break;
      case 4:
        to_client(program.piece(program.next(40)));
        break;
      case 5: {
        const std::string_view line = client_lines[program.next(client_lines.size())];
        std::string many;
        for (std::size_t n = std::size_t{1} << program.next(12); n > 0 && many.size() < read_octets; --n)
          many += line;
        to_client(many);
        break;
      }
      case 6:
        corked_ = !corked_;
        if (!corked_) flush();
        break;
      case 7:
      case 8:
      case 9: {
        const std::size_t code = program.next(codes.size());  // first, whatever compiler it is
        say(code, program.next(8) == 0 ? 2 : 1);
        break;
      }
      case 10:
        laws_.upstream_says(program.piece(program.next(24)));
        break;
      case 11:
        if (h_.asked_auth()) {
          authentication_ends(program.next(2 * auth::result_count));
        } else if (h_.tls_wanted()) {
          inbox_.clear();
          laws_.tls_done();
        }
        break;
      case 12:
        incident(program.next(8));
        break;
      case 13:
        if (h_.acquire_pending()) {
          h_.grant();
        } else {
          h_.memory_pressure(static_cast<session::MemoryPressure>(program.next(3)));
        }
        break;
      default:
        // The upstream agrees to everything it has been asked: the way to deep states.
        for (int i = 0; i < 64 && laws_.upstream_owes(); ++i) {
          say(laws_.upstream_owes_354() ? 1 : 0, 1);
          laws_.observe();
        }
        break;
    }
    laws_.observe();
    deliver();
  }

  void incident(std::size_t which) {
    if (which == 0) h_.timeout();
    if (which == 1 && (h_.upstream_open() || h_.acquire_pending()))
      h_.upstream_lost(session::LinkFailure::closed);
    if (which == 2) h_.drain();
    if (which == 3) h_.client_lost();
    if (which == 4) h_.hold_acquire = !h_.hold_acquire;
    if (which == 5) h_.acquire_fails = !h_.acquire_fails;
    if (which == 6) h_.wake();
    if (which == 7) h_.client_eof();
  }

  // The answer comes at once, or is held back until wake().
  void authentication_ends(std::size_t choice) {
    const auto result = static_cast<auth::Result>(choice % auth::result_count);
    h_.auth_done(h_.last_attempt, result, "a@example.com", choice < auth::result_count ? 0 : 500);
  }

  void to_client(std::string_view bytes) {
    if (inbox_.size() < 4 * read_octets) inbox_ += bytes;
    if (!corked_) deliver();
  }
  void flush() {
    corked_ = false;
    deliver();
  }
  void deliver() {
    while (!corked_ && !inbox_.empty() && h_.session().wants_client_bytes()) {
      const std::string piece = inbox_.substr(0, read_octets);
      inbox_.erase(0, piece.size());
      laws_.client_sends(piece);
    }
  }

  void say(std::size_t code, std::size_t times) {
    std::string bytes;
    for (; times > 0; --times) {
      bytes += std::to_string(1000 + codes[code]).substr(1) + " token" + std::to_string(++token_) + "x\r\n";
    }
    laws_.upstream_says(bytes);
  }

  const std::uint64_t messages_per_day_;
  Harness h_;
  Laws laws_;
  std::string inbox_;  // the client wrote it, the gateway has not read it
  std::size_t token_ = 0;
  bool corked_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Program program(data, size);
  Setup setup;
  const std::size_t flags = program.next(256);
  if ((flags & 1) != 0) setup.bare_lf = smtp::BareLf::normalize;
  if ((flags & 2) != 0) setup.upstream_ehlo = "250-up\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n";
  if ((flags & 4) != 0) setup.upstream_ehlo = "250-up\r\n250 8BITMIME\r\n";
  if ((flags & 8) != 0) setup.auth = config::AuthMode::optional;
  setup.auth_without_tls = true;
  if ((flags & 16) != 0) setup.tls = config::ListenerTls::starttls;
  if ((flags & 32) != 0) setup.message_octets = 200;
  if ((flags & 64) != 0) setup.identity = config::ClientIdentity::xforward;
  // Further settings are in the last octet where it is 0xE0 or more, so that older seeds keep their meaning.
  const unsigned more = size > 0 && data[size - 1] >= 0xE0 ? data[size - 1] : 0U;
  setup.trusted_peer = (more & 1U) != 0;
  if ((more & 2U) != 0) setup.certificate_login = "a@example.com";
  if ((more & 4U) != 0) setup.messages_per_day = 2;
  if ((more & 8U) != 0) setup.recipients_per_day = 3;
  Drill drill(setup, (flags & 128) != 0);
  drill.run(program);
  return 0;
}
