#include "proxy/sink/session.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "smtp/ascii.h"
#include "smtp/limits.h"
#include "smtp/line.h"
#include "smtp/params.h"
#include "smtp/reply.h"

namespace portcullis::sink {
namespace {

using smtp::Verb;

// Replies that quote nothing are literals: no allocation on the way of a message.
void say(std::string& out, std::string_view reply) {
  out += reply;
  out += "\r\n";
}

std::string_view text_of(smtp::PathError error) {
  switch (error) {
    case smtp::PathError::syntax:
      return "501 5.1.7 Bad path syntax";
    case smtp::PathError::too_long:
      return "501 5.1.7 Path too long";
    case smtp::PathError::utf8_not_allowed:
      return "553 5.6.7 SMTPUTF8 needed";
  }
  return "501 5.5.2 Bad path";
}

// Whether `argument` is 1*(SP name "=" xtext) with names from `known` only.
bool are_x_attributes(std::string_view argument, std::uint16_t known) {
  if (argument.empty()) return false;
  while (!argument.empty()) {
    std::string_view value = smtp::next_token(argument, ' ');
    const bool has_value = value.find('=') != std::string_view::npos;
    const std::string_view name = smtp::next_token(value, '=');
    if (!has_value || (smtp::x_attribute_by_name(name) & known) == 0) return false;
    if (!smtp::decode_xtext(value)) return false;
  }
  return true;
}

std::string hexadecimal(std::uint64_t number) {
  std::array<char, 16> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), number, 16);
  std::string text(digits.data(), end);
  std::ranges::transform(text, text.begin(), smtp::to_upper);
  return text;
}

}  // namespace

void Session::begin(std::string& out) { say(out, "220 " + service_.hostname + " ESMTP Portcullis sink"); }

void Session::feed(std::string_view bytes, std::string& out) {
  while (!bytes.empty() && !closing_) {
    switch (mode_) {
      case Mode::command:
        bytes = read_command(bytes, out);
        break;
      case Mode::data:
        bytes = read_data(bytes, out);
        break;
      case Mode::chunk:
        bytes = read_chunk(bytes, out);
        break;
    }
  }
}

// Each read_ function returns what it did not take.

std::string_view Session::read_command(std::string_view bytes, std::string& out) {
  constexpr std::size_t max = smtp::limits::command_line_octets;
  std::string held;
  std::string_view line = bytes;
  std::size_t taken = 0;
  if (!line_.empty()) {
    taken = std::min({bytes.find('\n'), bytes.size() - 1, max - line_.size() - 1}) + 1;
    line_ += bytes.substr(0, taken);
    held.swap(line_);
    line = held;
  }
  const smtp::LineResult result = smtp::next_line(line, max);
  switch (result.status) {
    case smtp::LineStatus::need_more:
      line_ = line;
      return {};
    case smtp::LineStatus::line:
      handle(result.text, out);
      break;
    case smtp::LineStatus::too_long:
      say(out, "500 5.5.2 Line too long");
      closing_ = true;
      break;
    default:  // what follows could be commands or not, depending on who reads: nobody shall
      say(out, "500 5.5.2 Lines end with CR LF");
      closing_ = true;
  }
  return bytes.substr(taken > 0 ? taken : result.consumed);
}

std::string_view Session::read_data(std::string_view bytes, std::string& out) {
  const std::size_t consumed = reader_.feed(bytes, slices_);
  take_content();
  if (reader_.done()) {
    mode_ = Mode::command;
    finish_message(reader_.fault(), out);
  }
  return bytes.substr(consumed);
}

std::string_view Session::read_chunk(std::string_view bytes, std::string& out) {
  const std::string_view content =
      bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(chunk_left_, bytes.size())));
  if (!chunk_refused_) scanner_.feed(content, slices_);
  take_content();
  chunk_left_ -= content.size();
  if (chunk_left_ == 0) finish_chunk(out);
  return bytes.substr(content.size());
}

void Session::handle(std::string_view line, std::string& out) {
  const smtp::Command command = smtp::parse_command(line);
  switch (command.verb) {
    case Verb::ehlo:
    case Verb::helo:
      handle_hello(command, out);
      break;
    case Verb::mail:
      handle_mail(command.argument, out);
      break;
    case Verb::rcpt:
      handle_rcpt(command.argument, out);
      break;
    case Verb::data:
      handle_data(out);
      break;
    case Verb::bdat:
      handle_bdat(command.argument, out);
      break;
    case Verb::xforward:
      handle_xforward(command.argument, out);
      break;
    case Verb::xclient:
      handle_xclient(command.argument, out);
      break;
    case Verb::rset:
      reset();
      say(out, "250 2.0.0 Ok");
      break;
    case Verb::noop:
      say(out, "250 2.0.0 Ok");
      break;
    case Verb::vrfy:
      say(out, "252 2.0.0 Send some mail, I shall take it");
      break;
    case Verb::help:
      say(out, "214 2.0.0 See RFC 5321");
      break;
    case Verb::quit:
      say(out, "221 2.0.0 Bye");
      closing_ = true;
      break;
    case Verb::starttls:
    case Verb::auth:
    case Verb::expn:
      say(out, "502 5.5.1 Not implemented");
      break;
    case Verb::http:
      say(out, "500 5.5.2 This is a mail server");
      closing_ = true;
      break;
    case Verb::unknown:
      say(out, "500 5.5.2 Command not recognised");
      break;
  }
}

void Session::handle_hello(const smtp::Command& command, std::string& out) {
  if (!smtp::is_valid_helo(command.argument)) return say(out, "501 5.5.4 Bad host name");
  reset();
  helo_ = command.argument;
  smtp::Extensions offered = service_.offered;
  offered.esmtp = command.verb == Verb::ehlo;
  if (!trusted_) offered.xforward = offered.xclient = 0;
  smtp::append_wire(out, smtp::render_ehlo(offered, service_.hostname));
}

void Session::handle_mail(std::string_view argument, std::string& out) {
  if (helo_.empty()) return say(out, "503 5.5.1 Say EHLO first");
  if (mail_seen_) return say(out, "503 5.5.1 Nested MAIL");
  const auto parsed = smtp::parse_mail_argument(argument, smtp::has_smtputf8_parameter(argument));
  if (!parsed) return say(out, text_of(parsed.error()));
  const auto parameters = smtp::parse_mail_parameters(parsed->parameters, service_.offered);
  if (!parameters) return smtp::append_wire(out, parameters.error());
  const std::uint64_t max = service_.offered.size.value_or(0);
  if (max > 0 && parameters->size_octets.value_or(0) > max) {
    return say(out, "552 5.3.4 Message too big");
  }
  mail_seen_ = true;
  smtputf8_ = parameters->smtputf8;
  note("Return-Path", smtp::to_wire(parsed->path));
  note("X-Envelope-Helo", helo_);
  note("X-Mail-Parameters", parsed->parameters);
  note("X-XClient", xclient_);
  note("X-XForward", xforward_);
  say(out, "250 2.1.0 Ok");
}

void Session::handle_rcpt(std::string_view argument, std::string& out) {
  if (!mail_seen_) return say(out, "503 5.5.1 Say MAIL first");
  if (chunked_) return say(out, "503 5.5.1 The message has begun");
  if (recipients_ >= smtp::limits::recipients_default) return say(out, "452 4.5.3 Too many recipients");
  const auto parsed = smtp::parse_rcpt_argument(argument, smtputf8_);
  if (!parsed) return say(out, text_of(parsed.error()));
  const auto parameters = smtp::parse_rcpt_parameters(parsed->parameters, service_.offered);
  if (!parameters) return smtp::append_wire(out, parameters.error());
  ++recipients_;
  const std::string path = smtp::to_wire(parsed->path);
  note("X-Envelope-To", path);
  if (!parsed->parameters.empty()) note("X-Rcpt-Parameters", path + ' ' + std::string(parsed->parameters));
  say(out, "250 2.1.5 Ok");
}

void Session::handle_data(std::string& out) {
  if (chunked_) return say(out, "503 5.5.1 The message comes by BDAT");
  if (recipients_ == 0) return say(out, "503 5.5.1 No recipients");
  begin_message();
  reader_ = smtp::DataReader(smtp::BareLf::refuse);
  mode_ = Mode::data;
  say(out, "354 End data with <CR><LF>.<CR><LF>");
}

// RFC 3030 2: the octets of a chunk follow even when it is refused, and are read.
void Session::handle_bdat(std::string_view argument, std::string& out) {
  const auto chunk = smtp::parse_bdat_argument(argument);
  if (!chunk) {
    say(out, "501 5.5.4 Bad chunk size");
    closing_ = true;  // where the next command begins, nobody knows
    return;
  }
  chunk_refused_ = recipients_ == 0;
  if (!chunk_refused_ && !chunked_) {
    begin_message();
    scanner_ = smtp::ContentScanner(smtp::BareLf::refuse);
    chunked_ = true;
  }
  mode_ = Mode::chunk;
  chunk_left_ = chunk->size_octets;
  chunk_last_ = chunk->last;
  if (chunk_left_ == 0) finish_chunk(out);
}

void Session::finish_chunk(std::string& out) {
  mode_ = Mode::command;
  if (chunk_refused_) return say(out, "503 5.5.1 No recipients");
  if (!chunk_last_) return say(out, "250 2.0.0 Ok");
  scanner_.finish();
  finish_message(scanner_.fault(), out);
}

void Session::handle_xforward(std::string_view argument, std::string& out) {
  if (!trusted_) return say(out, "550 5.7.0 Not authorised");
  if (mail_seen_) return say(out, "503 5.5.1 Mail transaction in progress");
  if (!are_x_attributes(argument, service_.offered.xforward))
    return say(out, "501 5.5.4 Bad XFORWARD attributes");
  if (xforward_.size() + argument.size() > smtp::limits::command_line_octets) {
    return say(out, "501 5.5.4 Too many XFORWARD attributes");
  }
  if (!xforward_.empty()) xforward_ += ' ';
  xforward_ += argument;
  say(out, "250 2.0.0 Ok");
}

// The session starts over, with another client's identity (XCLIENT_README).
void Session::handle_xclient(std::string_view argument, std::string& out) {
  if (!trusted_) return say(out, "550 5.7.0 Not authorised");
  if (mail_seen_) return say(out, "503 5.5.1 Mail transaction in progress");
  if (!are_x_attributes(argument, service_.offered.xclient))
    return say(out, "501 5.5.4 Bad XCLIENT attributes");
  reset();
  helo_.clear();
  xclient_ = argument;
  begin(out);
}

void Session::begin_message() {
  id_ = hexadecimal(service_.next_id++);
  octets_ = 0;
  if (service_.maildir == nullptr) return;
  message_.emplace(*service_.maildir, id_).append(trace_);
}

void Session::take_content() {
  for (const std::string_view slice : slices_) {
    octets_ += slice.size();
    if (message_) message_->append(slice);
  }
  slices_.clear();
  const std::uint64_t max = service_.offered.size.value_or(0);
  if (max > 0 && octets_ > max) message_.reset();  // read on, keep nothing
}

void Session::finish_message(smtp::BodyFault fault, std::string& out) {
  const std::uint64_t max = service_.offered.size.value_or(0);
  if (fault != smtp::BodyFault::none) {
    say(out, "550 5.6.0 Bare CR, bare LF or NUL in the message");
  } else if (max > 0 && octets_ > max) {
    say(out, "552 5.3.4 Message too big");
  } else if (message_ && !message_->commit()) {
    say(out, "451 4.3.0 The message could not be stored");
  } else {
    ++service_.messages;
    out += "250 2.0.0 Ok: queued as ";
    say(out, id_);
  }
  reset();
}

// One header field of ours. Values come from parsers that let no control character through.
void Session::note(std::string_view field, std::string_view value) {
  if (service_.maildir == nullptr || value.empty()) return;
  trace_ += field;
  trace_ += ": ";
  trace_ += value;
  trace_ += "\r\n";
}

void Session::reset() {
  mail_seen_ = false;
  recipients_ = 0;
  trace_.clear();
  xforward_.clear();  // they last one transaction (XFORWARD_README)
  chunked_ = false;
  message_.reset();
}

}  // namespace portcullis::sink
