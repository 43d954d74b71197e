#include "tests/bench/load/client.h"

#include <array>

#include "smtp/base64.h"

namespace portcullis::bench {

namespace {

constexpr std::size_t read_octets = 16 * 1024;
constexpr std::size_t copied_octets = 64 * 1024;  // content up to this goes out in one write with its command

unsigned expected_code(std::string_view step) {
  if (step == "greeting" || step == "starttls") return 220;
  if (step == "auth") return 235;
  if (step == "data") return 354;
  return step == "quit" ? 221 : 250;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

std::string_view Client::name_of(Step step) {
  static constexpr std::array<std::string_view, 13> names = {
      "connect", "handshake", "greeting", "ehlo",         "starttls", "auth", "mail",
      "rcpt",    "data",      "final",    "held_session", "quit",     "ended"};
  return names[static_cast<std::size_t>(step)];
}

bool Client::connect() {
  began_ = Clock::now();
  if (transport_.connect(plan_.address)) return true;
  fail("refused", 0);
  return false;
}

void Client::progress() {
  if (step_ == Step::connecting) {
    step_ = Step::greeting;
    if (plan_.options.security == Security::implicit) {
      step_ = Step::handshake;
      if (!transport_.start_tls(plan_.tls, plan_.ticket.get())) return fail("no_tls", 0);
    }
  }
  if (step_ == Step::handshake && !continue_handshake()) return;
  if (step_ != Step::ended && flush()) read_replies();
}

bool Client::continue_handshake() {
  switch (transport_.handshake()) {
    case Transport::Progress::again:
      return false;
    case Transport::Progress::failed:
      fail("failed", 0);
      return false;
    case Transport::Progress::done:
      break;
  }
  if (transport_.resumed()) ++plan_.result.sessions_resumed;
  secured_ = true;
  if (plan_.options.security == Security::implicit) {
    step_ = Step::greeting;
  } else {
    send("EHLO " + plan_.options.helo + "\r\n", Step::ehlo);
  }
  return true;
}

void Client::read_replies() {
  static std::array<char, read_octets> buffer;
  while (step_ != Step::ended && step_ != Step::handshake) {
    const int size = transport_.read(buffer);
    if (size == Transport::again) return;
    if (size == Transport::ended) return fail("lost", 0);
    std::string_view bytes(buffer.data(), static_cast<std::size_t>(size));
    while (!bytes.empty() && step_ != Step::ended) {
      bytes.remove_prefix(parser_.feed(bytes));
      if (parser_.status() == smtp::ReplyParser::Status::malformed) return fail("malformed", 0);
      if (parser_.status() == smtp::ReplyParser::Status::complete) on_reply(parser_.take());
    }
    if (step_ != Step::ended && !flush()) return;
  }
  if (step_ == Step::handshake) continue_handshake();
}

void Client::on_reply(const smtp::Reply& reply) {
  if (reply.code != expected_code(name_of(step_))) return fail("reply", reply.code);
  const bool grouped = plan_.options.pipeline;
  switch (step_) {
    case Step::greeting:
      return send("EHLO " + plan_.options.helo + "\r\n", Step::ehlo);
    case Step::ehlo:
      return after_ehlo();
    case Step::starttls:
      step_ = Step::handshake;
      if (!transport_.start_tls(plan_.tls, plan_.ticket.get())) fail("no_tls", 0);
      return;
    case Step::auth:
      return next_message();
    case Step::mail:
      if (grouped) {
        step_ = Step::rcpt;
        return;
      }
      return send("RCPT TO:<" + plan_.options.to + ">\r\n", Step::rcpt);
    case Step::rcpt:
      if (plan_.options.bdat) {
        if (grouped) {
          step_ = Step::end_of_data;
          return;
        }
        send(plan_.body_command, Step::end_of_data);
        return send_content();
      }
      if (grouped) {
        step_ = Step::data;
        return;
      }
      return send(plan_.body_command, Step::data);
    case Step::data:
      step_ = Step::end_of_data;
      return send_content();
    case Step::end_of_data:
      ++messages_;
      ++plan_.result.messages_acknowledged;
      plan_.result.octets_sent += plan_.content.size();
      plan_.result.message_seconds.push_back(seconds_since(message_began_));
      return next_message();
    case Step::quit:
      return end_well();
    default:
      return fail("unasked", reply.code);
  }
}

void Client::after_ehlo() {
  if (plan_.options.security == Security::starttls && !secured_) {
    return send("STARTTLS\r\n", Step::starttls);
  }
  if (plan_.options.login.empty()) return next_message();
  std::string response(1, '\0');
  response += plan_.options.login;
  response += '\0';
  response += plan_.options.password;
  send("AUTH PLAIN " + smtp::encode_base64(response) + "\r\n", Step::auth);
}

void Client::next_message() {
  if (messages_ == plan_.options.messages) {
    if (!plan_.options.hold) return release();
    step_ = Step::held;
    return;
  }
  message_began_ = Clock::now();
  if (!plan_.options.pipeline) return send("MAIL FROM:<" + plan_.options.from + ">\r\n", Step::mail);
  send(plan_.envelope, Step::mail);
  if (plan_.options.bdat) send_content();
}

void Client::release() { send("QUIT\r\n", Step::quit); }

void Client::send(std::string_view bytes, Step awaiting) {
  out_ += bytes;
  step_ = awaiting;
}

void Client::send_content() {
  if (plan_.content.size() <= copied_octets) {
    out_ += plan_.content;
  } else {
    content_left_ = plan_.content;
  }
}

bool Client::flush() {
  while (out_sent_ < out_.size()) {
    const int sent = transport_.write(std::string_view(out_).substr(out_sent_));
    if (sent == Transport::again) return true;
    if (sent == Transport::ended) {
      fail("lost", 0);
      return false;
    }
    out_sent_ += static_cast<std::size_t>(sent);
  }
  out_.clear();
  out_sent_ = 0;
  while (!content_left_.empty()) {
    const int sent = transport_.write(content_left_);
    if (sent == Transport::again) return true;
    if (sent == Transport::ended) {
      fail("lost", 0);
      return false;
    }
    content_left_.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void Client::fail(std::string_view what, unsigned code) {
  if (step_ == Step::ended) return;
  std::string key(name_of(step_));
  key += ' ';
  key += code != 0 ? std::to_string(code) : std::string(what);
  ++plan_.result.errors[key];
  ++plan_.result.sessions_failed;
  step_ = Step::ended;
  transport_.close();
}

void Client::end_well() {
  ++plan_.result.sessions_ok;
  plan_.result.session_seconds.push_back(seconds_since(began_));
  step_ = Step::ended;
  transport_.close();
}

}  // namespace portcullis::bench
