// The verb table (RFC 5321 4.1.4 is good to read beside it) and the short verbs.
#include <array>

#include "policy/identity.h"
#include "proxy/session/message_size.h"
#include "proxy/session/session.h"
#include "smtp/limits.h"
#include "smtp/xclient.h"

namespace portcullis::session {

namespace {

enum class Greeted : std::uint8_t { any, needed };  // EHLO or HELO before?
enum class Inside : std::uint8_t { any, outside };  // allowed inside a transaction?

struct Row {
  Greeted greeted;
  Inside transaction;
  bool counts_as_idle;  // does not bring mail nearer: counted against commands_without_mail
};

// One row a verb, in the order of smtp::Verb.
constexpr std::array<Row, smtp::verb_count> table = {{
    {Greeted::any, Inside::any, true},         // EHLO
    {Greeted::any, Inside::any, true},         // HELO
    {Greeted::needed, Inside::outside, true},  // STARTTLS
    {Greeted::needed, Inside::outside, true},  // AUTH
    {Greeted::needed, Inside::outside, true},  // MAIL
    {Greeted::needed, Inside::any, false},     // RCPT
    {Greeted::needed, Inside::any, false},     // DATA
    {Greeted::any, Inside::any, false},        // BDAT
    {Greeted::any, Inside::any, true},         // RSET
    {Greeted::any, Inside::any, true},         // NOOP
    {Greeted::any, Inside::any, true},         // VRFY
    {Greeted::any, Inside::any, true},         // EXPN
    {Greeted::any, Inside::any, true},         // HELP
    {Greeted::any, Inside::any, false},        // QUIT
    {Greeted::any, Inside::outside, true},     // XCLIENT
    {Greeted::any, Inside::outside, true},     // XFORWARD
    {Greeted::any, Inside::any, true},         // HTTP
    {Greeted::any, Inside::any, true},         // unknown
}};

}  // namespace

void Session::command(const smtp::Command& parsed, Now now, Effects& fx) {
  const smtp::Verb verb = parsed.verb;
  const Row& row = table[static_cast<std::size_t>(verb)];
  env_.shard.add<metrics::Metric::commands>(listener_.label, verb);
  if (row.counts_as_idle && ++commands_without_mail_ > listener_.settings.limits.commands_without_mail) {
    return bye(verb, 421, "4.7.0", "Too many commands without mail", metrics::CloseReason::policy,
               "idle_commands", now, fx);
  }
  if (row.greeted == Greeted::needed && helo_.empty()) {
    violation(metrics::Violation::bad_sequence);
    refuse(verb, 503, "5.5.1", "Send EHLO or HELO first", fx);
  } else if (row.transaction == Inside::outside && transaction_) {
    violation(metrics::Violation::bad_sequence);
    refuse(verb, 503, "5.5.1",
           verb == smtp::Verb::mail ? "Nested MAIL command: a mail transaction is already open"
                                    : "Not inside a mail transaction",
           fx);
  } else {
    switch (verb) {
      case smtp::Verb::ehlo:
        ehlo(parsed.argument, true, now, fx);
        break;
      case smtp::Verb::helo:
        ehlo(parsed.argument, false, now, fx);
        break;
      case smtp::Verb::starttls:
        starttls(parsed.argument, now, fx);
        break;
      case smtp::Verb::auth:
        auth(parsed.argument, now, fx);
        break;
      case smtp::Verb::mail:
        mail(parsed.argument, now, fx);
        break;
      case smtp::Verb::rcpt:
        rcpt(parsed.argument, now, fx);
        break;
      case smtp::Verb::data:
        data(parsed.argument, now, fx);
        break;
      case smtp::Verb::bdat:
        bdat(parsed.argument, now, fx);
        break;
      case smtp::Verb::rset:
        rset(parsed.argument, now, fx);
        break;
      case smtp::Verb::quit:
        quit(parsed.argument, now, fx);
        break;
      case smtp::Verb::noop:
        say(verb, 250, "2.0.0", "Ok", fx);
        break;
      case smtp::Verb::help:
        say(verb, 214, "2.0.0", "See RFC 5321; ask the postmaster of this host", fx);
        break;
      case smtp::Verb::vrfy:
        say(verb, 252, "2.5.2", "Send mail to find out", fx);
        break;
      case smtp::Verb::expn:
        refuse(verb, 502, "5.5.1", "EXPN is not offered", fx);
        break;
      case smtp::Verb::xclient:
        xclient(parsed.argument, now, fx);
        break;
      case smtp::Verb::xforward:
        xforward(parsed.argument, now, fx);
        break;
      case smtp::Verb::http:
        // A browser or a proxy was made to talk to us: nothing of this is mail.
        violation(metrics::Violation::http_probe);
        return bye(verb, 554, "5.7.0", "This is an SMTP server", metrics::CloseReason::policy, "http_probe",
                   now, fx);
      case smtp::Verb::unknown:
        refuse(verb, 500, "5.5.1", "Command not recognized", fx);
        break;
    }
  }
  if (errors_ > listener_.settings.limits.errors && !finished_) {
    bye(421, "4.7.0", "Too many errors", metrics::CloseReason::policy, "errors", now, fx);
  }
}

// DATA, and AUTH without an initial response, are the last of a group (RFC 2920 3.1, RFC 4954 4): what a
// client sends behind them without waiting is a message, or the answer to a challenge.
bool Session::refused_before_its_data(const smtp::Command& parsed) const {
  if (parsed.verb == smtp::Verb::data) return input_ != Input::data;
  const bool without_response = parsed.argument.find(' ') == std::string_view::npos;
  return parsed.verb == smtp::Verb::auth && without_response && input_ != Input::sasl;
}

// A message that its author can shape must never be read as commands. Nothing tells where it ends.
void Session::data_behind_refusal(Now now, Effects& fx) {
  violation(metrics::Violation::data_after_refusal);
  bye(421, "4.7.0", "Only commands may follow a refused DATA or AUTH", metrics::CloseReason::policy,
      "data_after_refusal", now, fx);
}

std::uint8_t Session::mechanisms_now() const {
  if (listener_.settings.auth == config::AuthMode::off) return 0;
  const bool secure = tls_ != nullptr || auth_without_tls_;
  if (!secure) return 0;
  std::uint8_t bits = listener_.mechanisms;
  // A certificate is its owner's: not that of a client for whom somebody else speaks.
  const TlsFacts* const tls = client_tls();
  if (tls == nullptr || tls->certificate_login.empty())
    bits &= static_cast<std::uint8_t>(~smtp::mech_external);
  return bits;
}

smtp::Extensions Session::offered() const {
  smtp::Extensions offer;
  offer.esmtp = true;
  offer.pipelining = true;
  offer.enhanced_status_codes = true;
  offer.chunking = true;
  // Of a server that nobody has reached yet the best is assumed: mail to it is deferred anyway, and a client
  // that hears of no SMTPUTF8 sends a message that needs it back to its author.
  offer.eight_bit_mime =
      offer_.extensions.eight_bit_mime || listener_.upstream.assume_eight_bit || !offer_.known;
  offer.smtputf8 = (offer_.extensions.smtputf8 || !offer_.known) && offer.eight_bit_mime;
  offer.dsn = offer_.extensions.dsn;
  offer.size = announced_size(listener_.settings.limits.message_octets, offer_.extensions);
  offer.starttls =
      listener_.starttls_available && listener_.settings.tls == config::ListenerTls::starttls && !tls_;
  offer.auth = mechanisms_now();
  if (may_xclient_) offer.xclient = smtp::xclient_attributes_taken;
  if (may_xforward_) offer.xforward = smtp::xforward_attributes_taken;
  return offer;
}

void Session::ehlo(std::string_view argument, bool extended, Now now, Effects& fx) {
  const smtp::Verb verb = extended ? smtp::Verb::ehlo : smtp::Verb::helo;
  const smtp::Reply unnamed = {501, "5.5.4", "A domain name or address literal is needed"};
  if (argument.empty()) return refuse(verb, unnamed.code, unnamed.enhanced, unnamed.text, fx);
  if (!smtp::is_valid_helo(argument)) {
    const auto verdict =
        policies_->chain.strict(policy::Stage::command, smtp::Strictness::helo_name, unnamed);
    note_hits(verdict);
    if (verdict.action != policy::Action::accept) return refuse_by_rule(verb, verdict, fx);
  }
  // RFC 5321 4.1.4: a repeated EHLO resets like RSET.
  if (transaction_) {
    leave_upstream(fx);
    end_transaction(metrics::MessageResult::aborted, nullptr, now, fx);
  }
  forwarded_.reset();
  mail_refused_ = false;
  helo_ = smtp::helo_text(argument);
  extended_ = extended;
  if (!extended) return say(verb, 250, {}, env_.config.hostname, fx);
  answer(verb, smtp::render_ehlo(offered(), env_.config.hostname + " greets " + helo_), fx);
}

void Session::starttls(std::string_view argument, Now, Effects& fx) {
  const smtp::Verb verb = smtp::Verb::starttls;
  if (!argument.empty()) return refuse(verb, 501, "5.5.4", "STARTTLS takes no parameter", fx);
  if (tls_) return refuse(verb, 503, "5.5.1", "TLS is already active", fx);
  if (listener_.settings.tls != config::ListenerTls::starttls) {
    return refuse(verb, 502, "5.5.1", "STARTTLS is not offered", fx);
  }
  if (!listener_.starttls_available) {
    return refuse(verb, 454, "4.7.0", "TLS is not available at the moment", fx);
  }
  say(verb, 220, "2.0.0", "Ready to start TLS", fx);
  wait_ = Wait::tls;
  // Whoever was authenticated in the clear is not any more; nothing said before counts.
  account_.reset();
  mechanism_.clear();
  fx.start_tls = true;
}

void Session::rset(std::string_view argument, Now now, Effects& fx) {
  if (!argument.empty()) return refuse(smtp::Verb::rset, 501, "5.5.4", "RSET takes no parameter", fx);
  if (transaction_) {
    leave_upstream(fx);
    end_transaction(metrics::MessageResult::aborted, nullptr, now, fx);
  }
  forwarded_.reset();
  mail_refused_ = false;
  say(smtp::Verb::rset, 250, "2.0.0", "Ok", fx);
}

// A trusted proxy says for whom it speaks (Postfix XCLIENT_README). As there, the session begins anew:
// for policies, rates and the journal the client is whom it named, logged in as LOGIN if that was told.
void Session::xclient(std::string_view argument, Now, Effects& fx) {
  const smtp::Verb verb = smtp::Verb::xclient;
  if (!may_xclient_) {
    violation(metrics::Violation::bad_sequence);
    return refuse(verb, 550, "5.7.0", "Not authorized", fx);
  }
  const auto told = smtp::parse_xclient(argument);
  if (!told) return refuse(verb, 501, "5.5.4", told.error(), fx);
  // Without one the client would pass for the proxy, or for whom it named last, with all they may do.
  const std::optional<policy::IpAddress> address = policy::parse_ip(told->addr);
  if (!address) return refuse(verb, 501, "5.5.4", "ADDR with an address is needed", fx);
  const std::optional<std::string> login = policy::canonical_login(told->login);
  if (!told->login.empty() && !login) return refuse(verb, 501, "5.5.4", "LOGIN is no login", fx);
  account_.reset();
  mechanism_.clear();
  if (!told->login.empty()) {
    account_ = std::make_unique<policy::Account>();
    account_->login = *login;
    account_->backend = "xclient";
  }
  if (via_.empty()) via_ = policy::to_string(client_);
  named_by_xclient_ = true;
  client_ = *address;
  client_port_ = told->port.value_or(0);
  auth_without_tls_ = policies_->chain.permissions(client_).may_auth_without_tls;
  client_messages_ = 0;
  client_recipients_ = 0;
  helo_.clear();
  extended_ = false;
  forwarded_.reset();
  answer(verb, {220, {}, env_.config.hostname + " ESMTP"}, fx);
}

// A trusted mail server says where the next message came from (Postfix XFORWARD_README). No policy asks for
// it.
void Session::xforward(std::string_view argument, Now, Effects& fx) {
  const smtp::Verb verb = smtp::Verb::xforward;
  if (!may_xforward_) {
    violation(metrics::Violation::bad_sequence);
    return refuse(verb, 550, "5.7.0", "Not authorized", fx);
  }
  auto told = smtp::parse_xforward(argument);
  if (!told) return refuse(verb, 501, "5.5.4", told.error(), fx);
  if (!told->addr.empty() && !policy::parse_ip(told->addr)) {
    return refuse(verb, 501, "5.5.4", "ADDR is no address", fx);
  }
  if (!forwarded_) forwarded_ = std::make_unique<smtp::XAttributes>();
  smtp::merge(*forwarded_, std::move(*told));
  say(verb, 250, "2.0.0", "Ok", fx);
}

void Session::quit(std::string_view, Now now, Effects& fx) {
  bye(smtp::Verb::quit, 221, "2.0.0", env_.config.hostname + " closing connection",
      metrics::CloseReason::quit, "", now, fx);
}

}  // namespace portcullis::session
