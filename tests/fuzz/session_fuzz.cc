// A whole session between two hostile peers. The input is a program: what the client sends and in how
// many pieces, what the upstream says, how AUTH, TLS and connecting end, time-outs, losses, drain.
// The laws are held against models of both peers (session_models.h) after every event.
#include <algorithm>
#include <array>
#include <utility>

#include "tests/fuzz/session_models.h"
#include "tests/proxy/session/harness.h"

namespace {

using namespace portcullis;
using namespace portcullis::fuzz;
using session::testing::Harness;
using session::testing::Setup;

constexpr std::size_t read_octets = 64 * 1024;  // what one read of the driver brings at most

constexpr std::array<std::string_view, 26> client_lines = {
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
    "\r\n.\r\nMAIL FROM:<x@else.test>\r\n"};
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
  Drill(const Setup& setup, bool reuse) : setup_(setup), h_(setup) {
    h_.reuse = reuse;
    h_.start();
    observe();
  }

  void run(Program& program) {
    while (!program.over() && !h_.session().finished()) step(program);
    flush();
    require_no_forgotten_command();
    // Each transaction that is still in the pipeline may have to wait for its own; the session's end is last.
    for (int i = 0; i < 300 && !h_.session().finished(); ++i) {
      h_.timeout();
      observe();
    }
    require(h_.session().finished(), "time-outs end a session");
  }

 private:
  // --- events
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
        upstream(program.piece(program.next(24)));
        break;
      case 11:
        if (h_.asked_auth()) {
          h_.auth_done(static_cast<auth::Result>(program.next(auth::result_count)), "a@example.com");
        } else if (h_.tls_wanted()) {
          inbox_.clear();  // came in the clear: not a word of it may count
          h_.tls_done();
        }
        break;
      case 12:
        incident(program.next(8));
        break;
      case 13:
        h_.grant();
        break;
      default:
        // The upstream agrees to everything it has been asked: the way to deep states.
        for (int i = 0; i < 64 && h_.speaking() < models_.size() && models_[h_.speaking()].owes(); ++i)
          agree();
        break;
    }
    observe();
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
      raw_ += piece;
      const std::vector<char> exact(piece.begin(), piece.end());  // ASan sees one octet too far
      h_.client({exact.data(), exact.size()});
      observe();
    }
  }

  void say(std::size_t code, std::size_t times) {
    std::string bytes;
    for (; times > 0; --times) {
      bytes += std::to_string(1000 + codes[code]).substr(1) + " token" + std::to_string(++token_) + "x\r\n";
    }
    upstream(bytes);
  }
  void agree() {
    const std::size_t wire = h_.speaking();
    say(models_[wire].data_next() ? 1 : 0, 1);
    observe();
  }
  void upstream(std::string_view bytes) {
    const std::size_t wire = h_.speaking();
    if (bytes.empty() || wire >= models_.size()) return;
    for (const UpstreamModel::Answer& answer : models_[wire].says(bytes)) {
      if (answer.to == UpstreamModel::Ask::message && awaiting_ && awaiting_wire_ == wire)
        verdict_ = answer.reply;
      if (answer.to == UpstreamModel::Ask::rcpt) rcpt_said_.push_back(answer.reply);
    }
    const std::vector<char> exact(bytes.begin(), bytes.end());
    h_.upstream({exact.data(), exact.size()});
  }

  // --- laws
  void observe() {
    models_.resize(h_.wires.size());
    read_.resize(h_.wires.size());
    complete_.resize(h_.wires.size());
    require(h_.session().held_octets() < 3 * read_octets + 300 * 1024 + 2000 * 600,
            "what a session holds is bounded");
    for (std::size_t i = 0; i < h_.wires.size(); ++i) {
      models_[i].sent(std::string_view(h_.wires[i]).substr(read_[i]));
      read_[i] = h_.wires[i].size();
    }
    replies_ += std::exchange(h_.client_out, {});
    h_.upstream_out.clear();
    while (advance()) {
    }
    for (std::size_t i = 0; i < models_.size(); ++i) {
      require(complete_[i] == models_[i].messages.size(),
              "a message completes upstream only when the client ended it");
    }
  }

  // Lets the client's model go one step: content to its end, or one reply.
  bool advance() {
    if (in_data_) {
      std::size_t used = 0;
      const std::optional<std::string> content = strict_data(raw_, used);
      if (content) {
        raw_.erase(0, used);
        in_data_ = false;
        await(*content, false);
        return true;
      }
    }
    if (!awaiting_ && !in_data_) {
      const std::optional<Chunk> chunk = command() && !sasl_ ? strict_bdat(*command()) : std::nullopt;
      if (chunk && chunk->last && raw_.size() >= command()->size() + 2 + chunk->size) {
        await(chunks_ + raw_.substr(command()->size() + 2, chunk->size), true);
        return true;
      }
    }
    if (awaiting_) match_complete();
    std::string_view rest = replies_;
    bool broken = false;
    const std::optional<SeenReply> reply = take_reply(rest, broken);
    require(!broken, "the client gets nothing but replies");
    if (!reply) return false;
    replies_ = rest;
    answered(*reply);
    return true;
  }

  void await(std::string content, bool bdat) {
    awaiting_ = true;
    awaiting_bdat_ = bdat;
    awaiting_wire_ = no_wire;
    content_ = std::move(content);
    verdict_.reset();
    match_complete();
  }
  void match_complete() {
    for (std::size_t i = 0; i < models_.size(); ++i) {
      if (complete_[i] == models_[i].messages.size()) continue;
      require(awaiting_wire_ == no_wire, "one message completes upstream at most once");
      awaiting_wire_ = i;
      require(same(models_[i].messages[complete_[i]++]), "what the upstream got is what the client sent");
    }
  }
  bool same(std::string_view got) const {
    require(got.starts_with("Received: "), "our Received field is first");
    std::size_t end = got.find("\r\n");
    while (end + 2 < got.size() && (got[end + 2] == '\t' || got[end + 2] == ' '))
      end = got.find("\r\n", end + 2);
    got.remove_prefix(end + 2);
    if (setup_.bare_lf == smtp::BareLf::normalize) return true;  // the body target compares these
    return got == content_ || got == content_ + "\r\n";
  }

  std::optional<std::string_view> command() const {
    const std::size_t end = raw_.find("\r\n");
    return end == std::string::npos ? std::nullopt : std::optional(std::string_view(raw_).substr(0, end));
  }

  void answered(const SeenReply& reply) {
    const bool yes = reply.code >= 200 && reply.code < 300;
    if (!greeted_) {
      greeted_ = true;
      return;
    }
    const bool last = h_.session().finished() && replies_.empty();
    if (awaiting_) return message_answered(reply, yes);
    if (in_data_ || !command()) {
      require(h_.session().finished() && !(yes && reply.code != 221), "no reply without a command");
      return;
    }
    const std::string line(*command());
    const std::string verb = upper(line.substr(0, 4));
    std::size_t used = line.size() + 2;
    const std::optional<Chunk> chunk = sasl_ ? std::nullopt : strict_bdat(line);  // a SASL response is none
    if (chunk && !last) {
      used += chunk->size;
      require(used <= raw_.size(), "a chunk is answered when it is all there");
      if (yes) {
        chunks_ += raw_.substr(line.size() + 2, chunk->size);
      } else {
        chunks_.clear();
      }
    } else if (sasl_) {
      require(!yes || reply.code == 235, "a SASL response is answered");
    } else if (verb == "RCPT" && yes) {
      const auto said = std::find_if(rcpt_said_.begin(), rcpt_said_.end(), [&](const SeenReply& r) {
        return (r.code == 250 || r.code == 251) && same_text(reply.text, r.text);
      });
      require(said != rcpt_said_.end(), "a recipient is accepted with the upstream's own word");
      rcpt_said_.erase(said);
    } else if (verb != "BDAT" && verb != "RCPT" && verb != "DATA" && verb != "NOOP" && verb != "VRFY" &&
               yes) {
      if (verb == "MAIL" || verb == "RSET" || verb == "EHLO" || verb == "HELO") chunks_.clear();
    }
    raw_.erase(0, used);
    sasl_ = reply.code == 334;
    in_data_ = reply.code == 354 && verb == "DATA";
    if (reply.code == 220) raw_.clear();  // TLS
  }

  void message_answered(const SeenReply& reply, bool yes) {
    const bool upstream_has_it = awaiting_wire_ != no_wire;
    if (yes) {
      require(upstream_has_it && verdict_ && verdict_->code == 250,
              "no acknowledgement without the upstream's 250");
      require(same_text(reply.text, verdict_->text), "the acknowledgement is the upstream's own");
    } else if (reply.code >= 500) {
      require(!upstream_has_it || (verdict_ && verdict_->code >= 500),
              "a refused message never completes upstream");
    }
    if (awaiting_bdat_) {
      const Chunk chunk = *strict_bdat(*command());
      raw_.erase(0, command()->size() + 2 + chunk.size);
    }
    chunks_.clear();
    awaiting_ = false;
    awaiting_wire_ = no_wire;
  }
  // The token in an upstream's reply, in what the client was told.
  static bool same_text(std::string_view shown, std::string_view said) {
    const std::size_t at = said.find("token");
    if (at == std::string_view::npos) return true;  // the upstream said it without one
    return shown.find(said.substr(at, said.find('x', at) - at + 1)) != std::string_view::npos;
  }

  void require_no_forgotten_command() {
    if (h_.session().finished() || h_.asked_auth() || h_.tls_wanted() || h_.acquire_pending() || in_data_)
      return;
    for (UpstreamModel& model : models_) {
      if (model.owes()) return;
    }
    const auto line = command();
    const bool chunk = line && !sasl_ && strict_bdat(*line);
    require(!line || chunk || line->size() > 2000, "every command is answered");
  }

  Setup setup_;
  Harness h_;
  std::string inbox_;    // the client wrote it, the gateway has not read it
  std::string raw_;      // read, and not accounted for by a reply
  std::string replies_;  // that the client has not read
  std::string chunks_, content_;
  std::vector<UpstreamModel> models_;
  std::vector<std::size_t> read_, complete_;
  std::vector<SeenReply> rcpt_said_;
  std::optional<SeenReply> verdict_;
  static constexpr std::size_t no_wire = static_cast<std::size_t>(-1);
  std::size_t awaiting_wire_ = no_wire;
  std::size_t token_ = 0;
  bool corked_ = false, greeted_ = false, in_data_ = false, awaiting_ = false, awaiting_bdat_ = false,
       sasl_ = false;
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
  Drill drill(setup, (flags & 128) != 0);
  drill.run(program);
  return 0;
}
