#include "tests/proxy/session/laws.h"

#include <algorithm>
#include <utility>

#include "smtp/authentication_results.h"

namespace portcullis::session::testing {

Laws::Laws(Harness& harness, bool normalizes_bare_lf) : h_(harness), normalizes_bare_lf_(normalizes_bare_lf) {
  observe();
}

void Laws::client_sends(std::string_view bytes) {
  raw_ += bytes;
  const std::vector<char> exact(bytes.begin(), bytes.end());  // ASan sees one octet too far
  h_.client({exact.data(), exact.size()});
  observe();
}

void Laws::upstream_says(std::string_view bytes) {
  if (bytes.empty() || !speaks()) return;
  const std::size_t wire = h_.speaking();
  for (const UpstreamModel::Answer& answer : models_[wire].says(bytes)) {
    if (answer.to == UpstreamModel::Ask::message && awaiting_ && awaiting_wire_ == wire)
      verdict_ = answer.reply;
    if (answer.to == UpstreamModel::Ask::rcpt) rcpt_said_.push_back(answer.reply);
  }
  const std::vector<char> exact(bytes.begin(), bytes.end());
  h_.upstream({exact.data(), exact.size()});
}

void Laws::tls_done() {
  raw_.clear();  // RFC 3207 section 4.2: octets that came in the clear count for nothing
  h_.tls_done();
}

void Laws::observe() {
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
bool Laws::advance() {
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

void Laws::await(std::string content, bool bdat) {
  awaiting_ = true;
  awaiting_bdat_ = bdat;
  awaiting_wire_ = no_wire;
  content_ = std::move(content);
  verdict_.reset();
  match_complete();
}

void Laws::match_complete() {
  for (std::size_t i = 0; i < models_.size(); ++i) {
    if (complete_[i] == models_[i].messages.size()) continue;
    require(awaiting_wire_ == no_wire, "one message completes upstream at most once");
    awaiting_wire_ = i;
    require(same(models_[i].messages[complete_[i]++]), "what the upstream got is what the client sent");
  }
}

bool Laws::same(std::string_view got) const {
  require(got.starts_with("Received: "), "our Received field is first");
  std::size_t end = got.find("\r\n");
  while (end + 2 < got.size() && (got[end + 2] == '\t' || got[end + 2] == ' '))
    end = got.find("\r\n", end + 2);
  got.remove_prefix(end + 2);
  if (normalizes_bare_lf_) return true;  // the body target compares these
  // A result of authentication that claims to be ours is removed (authentication_results_test).
  std::string kept;
  if (smtp::append_without_results(kept, content_, [](std::string_view) { return true; }) > 0) return true;
  return got == content_ || got == content_ + "\r\n";
}

std::optional<std::string_view> Laws::command() const {
  const std::size_t end = raw_.find("\r\n");
  return end == std::string::npos ? std::nullopt : std::optional(std::string_view(raw_).substr(0, end));
}

void Laws::answered(const SeenReply& reply) {
  const bool yes = reply.code >= 200 && reply.code < 300;
  if (!greeted_) {
    greeted_ = true;
    return;
  }
  if (awaiting_) return message_answered(reply, yes);
  if (in_data_ || !command()) {
    require(h_.session().finished() && !(yes && reply.code != 221), "no reply without a command");
    return;
  }
  command_answered(reply, h_.session().finished() && replies_.empty());
}

// `last`: the reply may be the farewell of a session that ended, in the place of the command's own.
void Laws::command_answered(const SeenReply& reply, bool last) {
  const bool yes = reply.code >= 200 && reply.code < 300;
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
  } else if (yes && (verb == "MAIL" || verb == "RSET" || verb == "EHLO" || verb == "HELO")) {
    chunks_.clear();
  }
  raw_.erase(0, used);
  sasl_ = reply.code == 334;
  in_data_ = reply.code == 354 && verb == "DATA";
  if (reply.code == 220 && verb == "STAR") raw_.clear();
}

void Laws::message_answered(const SeenReply& reply, bool yes) {
  const bool upstream_has_it = awaiting_wire_ != no_wire;
  if (yes) {
    require(upstream_has_it && verdict_ && verdict_->code == 250,
            "no acknowledgement without the upstream's 250");
    require(same_text(reply.text, verdict_->text), "the acknowledgement is the upstream's own");
    ++acknowledged_;
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
bool Laws::same_text(std::string_view shown, std::string_view said) {
  const std::size_t at = said.find("token");
  if (at == std::string_view::npos) return true;  // the upstream said it without one
  return shown.find(said.substr(at, said.find('x', at) - at + 1)) != std::string_view::npos;
}

void Laws::require_no_forgotten_command() {
  const bool waits = h_.asked_auth() || h_.wake_wanted() || h_.tls_wanted() || h_.acquire_pending();
  if (h_.session().finished() || waits || in_data_) return;
  for (const UpstreamModel& model : models_) {
    if (model.owes()) return;
  }
  const auto line = command();
  const bool chunk = line && !sasl_ && strict_bdat(*line);
  require(!line || chunk || line->size() > 2000, "every command is answered");
}

void Laws::end(bool client_leaves) {
  require_no_forgotten_command();
  if (client_leaves && !h_.session().finished()) {
    h_.client_lost();
    observe();
  }
  // Each transaction that is still in the pipeline may have to wait for its own; the session's end is last.
  for (int i = 0; i < 300 && !h_.session().finished(); ++i) {
    h_.timeout();
    observe();
  }
  require(h_.session().finished(), "time-outs end a session");
  require(!h_.upstream_open() && !h_.acquire_pending(), "a session that ended holds no connection");
}

}  // namespace portcullis::session::testing
