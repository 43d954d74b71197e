#include "proxy/session/upstream_link.h"

#include <algorithm>
#include <utility>

#include "smtp/ascii.h"
#include "smtp/base64.h"
#include "smtp/extensions.h"
#include "smtp/limits.h"
#include "smtp/sasl.h"
#include "smtp/without_secret.h"

namespace portcullis::session {

namespace {

std::string quoted_reply(const smtp::Reply& reply) {
  std::string text = std::to_string(reply.code) + ' ';
  if (!reply.enhanced.empty()) text += reply.enhanced + ' ';
  return text + smtp::cleaned_text(reply.text, smtp::limits::relayed_reply_text_octets);
}

// Those of `attributes` that the server takes, each behind a blank: one that it does not know makes it refuse
// the command.
std::string offered_attributes(std::string_view attributes, std::uint16_t offered) {
  std::string all;
  while (!attributes.empty()) {
    const std::string_view attribute = smtp::next_token(attributes, ' ');
    if ((smtp::x_attribute_by_name(attribute.substr(0, attribute.find('='))) & offered) == 0) continue;
    all += ' ';
    all += attribute;
  }
  return all;
}

}  // namespace

std::string_view name_of(LinkFailure failure) {
  switch (failure) {
    case LinkFailure::none:
      return "none";
    case LinkFailure::connect:
      return "connect";
    case LinkFailure::refused:
      return "refused";
    case LinkFailure::tls_not_offered:
      return "tls_not_offered";
    case LinkFailure::tls:
      return "tls";
    case LinkFailure::auth:
      return "auth";
    case LinkFailure::xclient:
      return "xclient";
    case LinkFailure::malformed:
      return "malformed";
    case LinkFailure::unasked:
      return "unasked";
    case LinkFailure::closed:
      return "closed";
    case LinkFailure::timeout:
      return "timeout";
    case LinkFailure::busy:
      return "busy";
  }
  return "none";
}

UpstreamLink::UpstreamLink(const config::Upstream& settings, std::string helo, bool use_tls, XClient xclient)
    : settings_(settings), helo_(std::move(helo)), xclient_(std::move(xclient)), use_tls_(use_tls) {}

UpstreamLink::Step UpstreamLink::connected() {
  parser_ = {};  // of an address that was given up in the middle of its greeting
  expected_.assign(1, Expect::greeting);
  sent();  // the server speaks first
  return settings_.implicit_tls && use_tls_ ? Step::start_tls : Step::need_more;
}

void UpstreamLink::tls_established(Output& out) {
  tls_ = true;
  // Implicit TLS: the greeting is still to come. STARTTLS: what was said before it is forgotten
  // (RFC 3207 4.2), EHLO again.
  if (!expected_.empty()) return;
  parser_ = {};
  extensions_ = {};
  send_ehlo(out);
}

void UpstreamLink::last_not_sent() {
  if (!expected_.empty()) answerable_ = std::min(answerable_, expected_.size() - 1);
}

void UpstreamLink::fail(LinkFailure failure, std::string text) {
  if (failure_ != LinkFailure::none) return;
  failure_ = failure;
  failure_text_ = std::move(text);
}

UpstreamLink::Step UpstreamLink::failed_step(LinkFailure failure, std::string text) {
  fail(failure, std::move(text));
  return Step::failed;
}

UpstreamLink::Step UpstreamLink::feed(std::string_view& bytes, Output& out) {
  if (failure_ != LinkFailure::none) return Step::failed;
  while (!bytes.empty()) {
    if (answerable_ == 0 || interrupted_) return unasked(bytes);
    bytes.remove_prefix(parser_.feed(bytes));
    if (parser_.status() == smtp::ReplyParser::Status::malformed) {
      return failed_step(LinkFailure::malformed, "the server sent something that is not an SMTP reply");
    }
    if (parser_.status() == smtp::ReplyParser::Status::need_more) return Step::need_more;
    answer_ = parser_.take();
    ++replies_;
    // Sendmail quotes the command that it refuses. The reply goes to the client and into the journal (law 6).
    answer_.text = smtp::without_secret(std::move(answer_.text), settings_.password);
    answered_ = expected_.front();
    expected_.pop_front();
    --answerable_;
    if (!opened_) {
      const Step step = opening_reply(out);
      if (step == Step::need_more) continue;
      if (step == Step::start_tls && !bytes.empty()) {
        // Clear text behind the 220 to STARTTLS: somebody wants it read as if it came through TLS.
        return failed_step(LinkFailure::unasked, "the server sent clear text after STARTTLS");
      }
      return step;
    }
    if (answer_.code == 421 && answered_ != Expect::quit) {
      // RFC 5321 3.8: the server closes; whatever else is outstanding will not be answered.
      fail(LinkFailure::closed, quoted_reply(answer_));
      return Step::answer;
    }
    if (!queued_.empty() && expected_.empty()) {
      out.append(queued_.front().wire);
      expected_.push_back(queued_.front().what);
      queued_.pop_front();
    }
    return Step::answer;
  }
  return Step::need_more;
}

// Read to the end of a 4yz or 5yz reply, so that it is the same however TCP has cut it.
UpstreamLink::Step UpstreamLink::unasked(std::string_view& bytes) {
  const bool may_refuse = !parser_.idle() || bytes.front() == '4' || bytes.front() == '5';
  interrupted_ = true;
  if (may_refuse) bytes.remove_prefix(parser_.feed(bytes));
  if (may_refuse && parser_.status() == smtp::ReplyParser::Status::need_more) return Step::need_more;
  if (may_refuse && parser_.status() == smtp::ReplyParser::Status::complete) {
    smtp::Reply reply = parser_.take();
    reply.text = smtp::without_secret(std::move(reply.text), settings_.password);
    if (reply.transient() || reply.permanent()) {
      parting_ = std::move(reply);
      return failed_step(LinkFailure::closed, quoted_reply(parting_));
    }
  }
  return failed_step(LinkFailure::unasked, "the server sent something nobody asked for");
}

UpstreamLink::Step UpstreamLink::opening_reply(Output& out) {
  switch (answered_) {
    case Expect::greeting:
      if (answer_.code != 220) return failed_step(LinkFailure::refused, quoted_reply(answer_));
      return send_ehlo(out);
    case Expect::ehlo:
      if (answer_.code == 250) {
        extensions_ = smtp::parse_ehlo_reply(answer_);
        return after_ehlo(out);
      }
      if (!answer_.permanent()) return failed_step(LinkFailure::refused, quoted_reply(answer_));
      // RFC 5321 3.2: a server that does not know EHLO is greeted with HELO.
      out.append("HELO " + helo_ + "\r\n");
      expected_.push_back(Expect::helo);
      return Step::need_more;
    case Expect::helo:
      if (answer_.code != 250) return failed_step(LinkFailure::refused, quoted_reply(answer_));
      extensions_ = {};
      return after_ehlo(out);
    case Expect::starttls:
      if (answer_.code == 220) return Step::start_tls;
      if (settings_.tls != config::UpstreamTls::opportunistic) {
        return failed_step(LinkFailure::tls_not_offered, "STARTTLS refused: " + quoted_reply(answer_));
      }
      use_tls_ = false;
      return after_ehlo(out);
    case Expect::auth:
      if (answer_.code != 235) return failed_step(LinkFailure::auth, quoted_reply(answer_));
      return send_xclient(out);
    case Expect::xclient:
      // Success is 220: the greeting stage again, so EHLO again (XCLIENT_README).
      if (answer_.code != 220) return failed_step(LinkFailure::xclient, quoted_reply(answer_));
      xclient_sent_ = true;
      return send_ehlo(out);
    default:
      return failed_step(LinkFailure::unasked, "unexpected reply while opening");
  }
}

UpstreamLink::Step UpstreamLink::send_ehlo(Output& out) {
  out.append("EHLO " + (xclient_sent_ && !xclient_.helo.empty() ? xclient_.helo : helo_) + "\r\n");
  expected_.push_back(Expect::ehlo);
  return Step::need_more;
}

UpstreamLink::Step UpstreamLink::after_ehlo(Output& out) {
  if (xclient_sent_) return finish_opening();
  if (!tls_ && use_tls_ && settings_.tls != config::UpstreamTls::off) {
    if (extensions_.starttls) {
      out.append("STARTTLS\r\n");
      expected_.push_back(Expect::starttls);
      return Step::need_more;
    }
    if (settings_.tls != config::UpstreamTls::opportunistic) {
      return failed_step(LinkFailure::tls_not_offered, "the server does not offer STARTTLS");
    }
  }
  return send_auth(out);
}

UpstreamLink::Step UpstreamLink::send_auth(Output& out) {
  if (settings_.login.empty()) return send_xclient(out);
  if ((extensions_.auth & smtp::mech_plain) == 0) {
    return failed_step(LinkFailure::auth, "the server does not offer AUTH PLAIN");
  }
  std::string response;
  response.push_back('\0');
  response += settings_.login;
  response.push_back('\0');
  response += settings_.password;
  out.append("AUTH PLAIN " + smtp::encode_base64(response) + "\r\n");
  smtp::wipe(response);
  expected_.push_back(Expect::auth);
  return Step::need_more;
}

UpstreamLink::Step UpstreamLink::send_xclient(Output& out) {
  if (settings_.client_identity != config::ClientIdentity::xclient) return finish_opening();
  if (extensions_.xclient == 0) {
    return failed_step(LinkFailure::xclient, "the server does not offer XCLIENT to this gateway");
  }
  // Without it the client would pass for this gateway, with all that this one may.
  if ((extensions_.xclient & smtp::x_addr) == 0) {
    return failed_step(LinkFailure::xclient, "the server does not take ADDR by XCLIENT");
  }
  if (xclient_.attributes.empty()) return finish_opening();  // a probe: it speaks for no client
  out.append("XCLIENT" + offered_attributes(xclient_.attributes, extensions_.xclient) + "\r\n");
  expected_.push_back(Expect::xclient);
  return Step::need_more;
}

UpstreamLink::Step UpstreamLink::finish_opening() {
  opened_ = true;
  pipelining_ = extensions_.pipelining;
  return Step::ready;
}

void UpstreamLink::command(std::string_view wire, Expect what, Output& out) {
  if (what == Expect::mail) ++transactions_;
  if (pipelining_ || (expected_.empty() && queued_.empty())) {
    out.append(wire);
    expected_.push_back(what);
  } else {
    queued_.push_back({std::string(wire), what});
  }
}

}  // namespace portcullis::session
