// AUTH (RFC 4954): the SASL exchange, the question to the backends, and what each answer becomes.
#include <algorithm>
#include <utility>

#include "policy/identity.h"
#include "proxy/session/session.h"
#include "smtp/base64.h"
#include "smtp/limits.h"

namespace portcullis::session {

namespace {

std::uint8_t bit_of(smtp::Mechanism mechanism) {
  return static_cast<std::uint8_t>(1U << static_cast<unsigned>(mechanism));
}

}  // namespace

void Session::count_auth(std::optional<smtp::Mechanism> mechanism, metrics::AuthResult result) {
  env_.shard.add<metrics::Metric::auth_attempts>(
      listener_.label,
      mechanism ? metrics::Mechanism{static_cast<std::uint8_t>(*mechanism)} : metrics::Mechanism::other,
      result);
}

void Session::auth(std::string_view argument, Now now, Effects& fx) {
  const smtp::Verb verb = smtp::Verb::auth;
  secret_seen_ = secret_arrived_ = true;
  const std::size_t blank = argument.find(' ');
  const std::string_view name = argument.substr(0, blank);
  const std::optional<smtp::Mechanism> mechanism = smtp::mechanism_by_name(name);
  if (listener_.settings.auth == config::AuthMode::off || !extended_) {
    return refuse(verb, 503, "5.5.1", "AUTH is not offered", fx);
  }
  if (account_) return refuse(verb, 503, "5.5.1", "Already authenticated", fx);
  if (!tls_ && !auth_without_tls_) {
    count_auth(mechanism, metrics::AuthResult::tls_required);
    return refuse(verb, 523, "5.7.10", "Encryption is needed: send STARTTLS first", fx);
  }
  if (argument.empty()) return refuse(verb, 501, "5.5.4", "A mechanism is needed", fx);
  if (!mechanism || (mechanisms_now() & bit_of(*mechanism)) == 0) {
    return refuse(verb, 504, "5.5.4", "Mechanism not offered", fx);
  }
  sasl_ = std::make_unique<smtp::SaslExchange>(*mechanism);
  if (blank == std::string_view::npos) return sasl_step(std::nullopt, now, fx);
  std::string_view initial = argument.substr(blank);
  while (initial.starts_with(' ')) initial.remove_prefix(1);
  if (initial == "=") return sasl_step(std::string_view(), now, fx);
  std::optional<std::string> decoded = smtp::decode_base64(initial);
  if (!decoded) {
    return malformed_auth("Not base64", fx);
  }
  sasl_step(*decoded, now, fx);
  smtp::wipe(*decoded);
}

void Session::malformed_auth(std::string_view text, Effects& fx) {
  count_auth(sasl_->mechanism(), metrics::AuthResult::malformed);
  sasl_.reset();
  refuse(smtp::Verb::auth, 501, "5.5.2", text, fx);
}

void Session::sasl_line(std::string_view line, Now now, Effects& fx) {
  input_ = Input::command;
  secret_seen_ = secret_arrived_ = true;
  arm(Deadline::command, now);
  if (auth_outcome_) return auth_answer(now, fx);  // whatever the client said to the error challenge
  if (line == "*") {
    count_auth(sasl_->mechanism(), metrics::AuthResult::aborted);
    sasl_.reset();
    return refuse(smtp::Verb::auth, 501, "5.5.2", "Authentication cancelled", fx);
  }
  std::optional<std::string> decoded = smtp::decode_base64(line);
  data_refused_ = !decoded;  // what follows may be the next response
  if (!decoded) {
    return malformed_auth("Not base64", fx);
  }
  sasl_step(*decoded, now, fx);
  smtp::wipe(*decoded);
}

void Session::sasl_step(std::optional<std::string_view> response, Now now, Effects& fx) {
  switch (sasl_->step(response)) {
    case smtp::SaslExchange::Status::challenge:
      input_ = Input::sasl;
      // An empty challenge is "334 " with nothing behind it (RFC 4954 section 4).
      return answer(smtp::Verb::auth, {334, {}, smtp::encode_base64(sasl_->challenge())}, fx);
    case smtp::SaslExchange::Status::malformed:
      return malformed_auth("Malformed authentication data", fx);
    case smtp::SaslExchange::Status::credentials:
      return sasl_credentials(now, fx);
  }
}

void Session::sasl_credentials(Now now, Effects& fx) {
  smtp::Credentials credentials = sasl_->take_credentials();
  mechanism_ = smtp::name_of(credentials.mechanism);
  attempted_login_ = credentials.authcid.substr(0, smtp::limits::login_octets);
  if (credentials.mechanism == smtp::Mechanism::external) return external(credentials, now, fx);
  wait_ = Wait::auth;
  arm(Deadline::auth, now);
  fx.authenticate = auth::Request{std::move(credentials), client_, id_, ++auth_attempt_};
}

void Session::external(const smtp::Credentials& credentials, Now now, Effects& fx) {
  auth_outcome_ = std::make_unique<auth::Outcome>();
  auth_outcome_->result = auth::Result::bad_credentials;
  const std::optional<std::string> login = policy::canonical_login(client_tls()->certificate_login);
  const std::optional<std::string> wanted =
      credentials.authzid.empty() ? login : policy::canonical_login(credentials.authzid);
  if (login && wanted == login) {
    auth_outcome_->result = auth::Result::success;
    auth_outcome_->account.login = *login;
    auth_outcome_->account.backend = "certificate";
  } else {
    auth_outcome_->detail =
        "the certificate is for \"" + tls_->certificate_login.substr(0, smtp::limits::login_octets) +
        "\", the client asked to be \"" + credentials.authzid.substr(0, smtp::limits::login_octets) + '"';
  }
  auth_answer(now, fx);
}

void Session::auth_done(std::uint32_t attempt, auth::Outcome outcome, Now now, Effects& fx) {
  // One that was not waited for any longer was answered already; what it comes to now is nobody's.
  if (finished_ || wait_ != Wait::auth || attempt != auth_attempt_) return;
  const std::uint32_t delay_ms = outcome.delay_ms;
  auth_outcome_ = std::make_unique<auth::Outcome>(std::move(outcome));
  if (delay_ms > 0 && !draining_) {  // the end waits for no delay
    // Guessing costs time; the loop goes on with others.
    wait_ = Wait::auth_delay;
    arm(Deadline::auth, now);
    // The answer is there: nothing but the end of the session may come before it is told.
    deadline_ms_ = std::min(deadline_ms_ + delay_ms, session_end_ms());
    fx.wake_after_ms = delay_ms;
    return;
  }
  wait_ = Wait::none;
  auth_answer(now, fx);
  after_event(now, fx);
}

void Session::auth_answer(Now now, Effects& fx) {
  const smtp::Verb verb = smtp::Verb::auth;
  const smtp::Mechanism mechanism = sasl_->mechanism();
  const std::string_view challenge = smtp::error_challenge(mechanism);
  arm(Deadline::command, now);
  if (auth_outcome_->result == auth::Result::bad_credentials && !challenge.empty() && !error_told_) {
    // Bearer tokens: the error goes out as a challenge first, the 535 after the client's answer to it.
    error_told_ = true;
    input_ = Input::sasl;
    return answer(verb, {334, {}, smtp::encode_base64(challenge)}, fx);
  }
  error_told_ = false;
  const std::unique_ptr<auth::Outcome> outcome = std::move(auth_outcome_);
  sasl_.reset();
  count_auth(mechanism, metrics::AuthResult{static_cast<std::uint8_t>(outcome->result)});
  if (outcome->result == auth::Result::success) {
    account_ = std::make_unique<policy::Account>(std::move(outcome->account));
    accounts_generation_ = 0;
    login_ms_ = now.mono_ms;
    return say(verb, 235, "2.7.0", "Authentication successful", fx);
  }
  ++auth_failures_;
  env_.journal.write(metrics::EventRecord{
      now.wall,
      metrics::EventRecord::Level::warning,
      "auth_failed",
      id_,
      {{"client", policy::to_string(client_)},
       {"listener", listener_.settings.name},
       {"mechanism", mechanism_},
       {"result", std::string(metrics::auth_result_values[static_cast<std::size_t>(outcome->result)])},
       {"login", attempted_login_},
       {"detail", outcome->detail}},
      "authentication was refused",
      outcome->result == auth::Result::backend_error ? "backend_error" : ""});
  mechanism_.clear();
  attempted_login_.clear();
  switch (outcome->result) {
    case auth::Result::backend_error:
    case auth::Result::success:
      refuse(verb, 454, "4.7.0", "Temporary authentication failure, try again later", fx);
      break;
    case auth::Result::blocked:
      refuse(verb, 454, "4.7.0", "Too many failed attempts, try again later", fx);
      break;
    case auth::Result::bad_credentials:
      refuse(verb, 535, "5.7.8", "Authentication credentials invalid", fx);
      break;
    case auth::Result::disabled:
      refuse(verb, 525, "5.7.13", "Account is disabled", fx);
      break;
    case auth::Result::password_expired:
      refuse(verb, 534, "5.7.9", "Password has expired and must be changed", fx);
      break;
    case auth::Result::unsupported:
      refuse(verb, 504, "5.5.4", "Mechanism not available for this account", fx);
      break;
  }
  if (auth_failures_ >= listener_.settings.limits.auth_attempts) {
    bye(421, "4.7.0", "Too many failed authentication attempts", metrics::CloseReason::policy,
        "auth_attempts", now, fx);
  }
}

}  // namespace portcullis::session
