// The labels: every dimension a metric can have and, for the fixed ones, the whole list of values.
// No value here or from the configuration names a user, an address, a domain, a session or a reply
// text: the number of series is bounded by the configuration, never by traffic.
//
// The order of verb, mechanism, stage, action, mode, unit, backend and auth result is that of the
// enums of smtp/, policy/ and proxy/auth/, which may be passed as they are; tests hold them together.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace portcullis::metrics {

enum class Dim : std::uint8_t {
  none,
  // From the configuration. `server` stands for the two labels upstream and server, `build` for
  // version and revision.
  listener,
  rule,
  limit,
  upstream,
  server,
  certificate,
  loop,
  build,
  // Fixed lists, below.
  direction,
  verb,
  reply_verb,
  reply_code,
  code_class,
  violation,
  connection_reject,
  proxy_version,
  proxy_result,
  close_reason,
  tls_side,
  outcome,
  tls_version,
  tls_failure,
  mechanism,
  auth_result,
  backend,
  backend_result,
  not_asked,
  cache_result,
  auth_scope,
  stage,
  action,
  mode,
  spoof_check,
  rate_unit,
  store_op,
  message_result,
  recipient_result,
  phase,
  upstream_verb,
  connect_result,
  connection_state,
  reclaim_reason,
  failover_reason,
  capability,
  sink,
  route,
  http_code,
  buffer_kind,
};

constexpr bool is_configured(Dim dim) { return dim >= Dim::listener && dim <= Dim::build; }
inline constexpr std::size_t configured_dim_count = 8;

// One fixed list: its enum, and the label values in the enum's order.
#define PORTCULLIS_LABEL(Enum, dim, ...)                                                   \
  inline constexpr std::array dim##_values = std::to_array<std::string_view>(__VA_ARGS__); \
  constexpr Dim dim_of(Enum) { return Dim::dim; }

enum class Direction : std::uint8_t { in, out };
PORTCULLIS_LABEL(Direction, direction, {"in", "out"})

// smtp::Verb first; a reply can also answer what is no command.
enum class Verb : std::uint8_t {
  ehlo,
  helo,
  starttls,
  auth,
  mail,
  rcpt,
  data,
  bdat,
  rset,
  noop,
  vrfy,
  expn,
  help,
  quit,
  xclient,
  xforward,
  http,
  other,
};
PORTCULLIS_LABEL(Verb, verb,
                 {"EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY",
                  "EXPN", "HELP", "QUIT", "XCLIENT", "XFORWARD", "HTTP", "other"})
enum class ReplyVerb : std::uint8_t {
  ehlo,
  helo,
  starttls,
  auth,
  mail,
  rcpt,
  data,
  bdat,
  rset,
  noop,
  vrfy,
  expn,
  help,
  quit,
  xclient,
  xforward,
  http,
  other,
  greeting,     // 220, 421, 554 on connect
  end_of_data,  // the final reply of a message sent with DATA
  unasked,      // 421 at a timeout, at a drain, or behind the reply that was one error too many
};
PORTCULLIS_LABEL(ReplyVerb, reply_verb,
                 {"EHLO",    "HELO",     "STARTTLS", "AUTH",  "MAIL",     "RCPT",        "DATA",
                  "BDAT",    "RSET",     "NOOP",     "VRFY",  "EXPN",     "HELP",        "QUIT",
                  "XCLIENT", "XFORWARD", "HTTP",     "other", "greeting", "end_of_data", "unasked"})

// Reply codes of RFC 5321 4.2.3, 3207, 4954, 7504 and others in use; everything else is "other".
enum class ReplyCode : std::uint8_t {};
PORTCULLIS_LABEL(ReplyCode, reply_code,
                 {"214", "220", "221", "235", "250", "251", "252", "334", "354", "421", "432", "450",
                  "451", "452", "454", "455", "500", "501", "502", "503", "504", "521", "523", "525",
                  "530", "534", "535", "538", "550", "551", "552", "553", "554", "555", "556", "other"})

enum class CodeClass : std::uint8_t { positive, intermediate, transient, permanent };
PORTCULLIS_LABEL(CodeClass, code_class, {"2xx", "3xx", "4xx", "5xx"})

enum class Violation : std::uint8_t {
  bare_lf,
  bare_cr,
  nul,
  starttls_injection,
  http_probe,
  line_too_long,
  bad_sequence,
  data_after_refusal,  // content or a SASL response behind a DATA or AUTH that was refused
};
PORTCULLIS_LABEL(Violation, violation,
                 {"bare_lf", "bare_cr", "nul", "starttls_injection", "http_probe", "line_too_long",
                  "bad_sequence", "data_after_refusal"})

enum class ConnectionReject : std::uint8_t {
  listener_limit,  // `connections` of the listener
  too_many,        // at once from one client network
  too_fast,        // per minute from one client network
  draining,
  resources,     // memory
  proxy_header,  // a PROXY header is needed: not from here, none came, or it was malformed
  descriptors,   // all that clients may have are taken
  fair_share,    // few are left, and the client network holds its share of them
};
PORTCULLIS_LABEL(ConnectionReject, connection_reject,
                 {"listener_limit", "too_many", "too_fast", "draining", "resources", "proxy_header",
                  "descriptors", "fair_share"})

// Of PROXY headers. `none`: it could not be told, or nothing came.
enum class ProxyVersion : std::uint8_t { none, v1, v2 };
PORTCULLIS_LABEL(ProxyVersion, proxy_version, {"none", "1", "2"})
enum class ProxyResult : std::uint8_t {
  accepted,
  local,      // the balancer's own connection, a health check
  malformed,  // also: none at all
  untrusted,  // from a network that may not send one: not read
  timeout,
};
PORTCULLIS_LABEL(ProxyResult, proxy_result, {"accepted", "local", "malformed", "untrusted", "timeout"})

enum class CloseReason : std::uint8_t { quit, client_lost, timeout, policy, upstream, drain };
PORTCULLIS_LABEL(CloseReason, close_reason, {"quit", "client_lost", "timeout", "policy", "upstream", "drain"})

enum class TlsSide : std::uint8_t { client, upstream };
PORTCULLIS_LABEL(TlsSide, tls_side, {"client", "upstream"})

// Of reloads, probes and handshakes.
enum class Outcome : std::uint8_t { success, failure };
PORTCULLIS_LABEL(Outcome, outcome, {"success", "failure"})

enum class TlsVersion : std::uint8_t { tls12, tls13, none };
PORTCULLIS_LABEL(TlsVersion, tls_version, {"TLSv1.2", "TLSv1.3", "none"})

enum class TlsFailure : std::uint8_t {
  timeout,
  closed,
  not_tls,
  protocol_version,
  no_shared_cipher,
  certificate_missing,
  certificate_invalid,
  alert,
  other,
};
PORTCULLIS_LABEL(TlsFailure, tls_failure,
                 {"timeout", "closed", "not_tls", "protocol_version", "no_shared_cipher",
                  "certificate_missing", "certificate_invalid", "alert", "other"})

// smtp::Mechanism first.
enum class Mechanism : std::uint8_t { plain, login, xoauth2, oauthbearer, external, other };
PORTCULLIS_LABEL(Mechanism, mechanism, {"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "EXTERNAL", "other"})

// auth::Result first.
enum class AuthResult : std::uint8_t {
  success,
  bad_credentials,
  backend_error,
  blocked,
  disabled,
  password_expired,
  unsupported,
  aborted,
  tls_required,
  malformed,
};
PORTCULLIS_LABEL(AuthResult, auth_result,
                 {"success", "bad_credentials", "backend_error", "blocked", "disabled", "password_expired",
                  "unsupported", "aborted", "tls_required", "malformed"})

// auth::BackendKind. Results: auth::Result without what only the gateway itself decides.
enum class Backend : std::uint8_t { file, ldap, imap };
PORTCULLIS_LABEL(Backend, backend, {"file", "ldap", "imap"})
enum class BackendResult : std::uint8_t {
  success,
  bad_credentials,
  backend_error,
  disabled,
  password_expired,
  unsupported,
};
PORTCULLIS_LABEL(BackendResult, backend_result,
                 {"success", "bad_credentials", "backend_error", "disabled", "password_expired",
                  "unsupported"})

// auth::NotAsked.
enum class NotAsked : std::uint8_t { queue_full, no_worker, breaker_open };
PORTCULLIS_LABEL(NotAsked, not_asked, {"queue_full", "no_worker", "breaker_open"})

enum class CacheResult : std::uint8_t { hit, miss };
PORTCULLIS_LABEL(CacheResult, cache_result, {"hit", "miss"})

enum class AuthScope : std::uint8_t { network, login };
PORTCULLIS_LABEL(AuthScope, auth_scope, {"network", "login"})

// policy::Stage, policy::Mode (a rule that is off decides nothing). A rule that fires never accepts:
// policy::Action by action_index().
enum class Stage : std::uint8_t { connect, mail, rcpt, header, message, command };
PORTCULLIS_LABEL(Stage, stage, {"connect", "mail", "rcpt", "header", "message", "command"})
enum class Action : std::uint8_t { defer, reject };
PORTCULLIS_LABEL(Action, action, {"defer", "reject"})
enum class Mode : std::uint8_t { enforce, shadow };
PORTCULLIS_LABEL(Mode, mode, {"enforce", "shadow"})

// policy::SpoofCheck without its `none`: use spoof_index().
enum class SpoofCheck : std::uint8_t { envelope, header_from, sender, domain, unauth_local };
PORTCULLIS_LABEL(SpoofCheck, spoof_check, {"envelope", "header_from", "sender", "domain", "unauth_local"})

// policy::RateUnit.
enum class RateUnit : std::uint8_t { messages, recipients, bytes };
PORTCULLIS_LABEL(RateUnit, rate_unit, {"messages", "recipients", "bytes"})

enum class StoreOp : std::uint8_t { load, flush };
PORTCULLIS_LABEL(StoreOp, store_op, {"load", "flush"})

enum class MessageResult : std::uint8_t { accepted, rejected, deferred, aborted };
PORTCULLIS_LABEL(MessageResult, message_result, {"accepted", "rejected", "deferred", "aborted"})
enum class RecipientResult : std::uint8_t { accepted, rejected, deferred };
PORTCULLIS_LABEL(RecipientResult, recipient_result, {"accepted", "rejected", "deferred"})

enum class Phase : std::uint8_t { envelope, data, upstream_reply };
PORTCULLIS_LABEL(Phase, phase, {"envelope", "data", "upstream_reply"})

// Of transactions: what opening a connection came to is a ConnectResult.
enum class UpstreamVerb : std::uint8_t {
  xforward,
  mail,
  rcpt,
  data,
  bdat,
  end_of_data,
  rset,
};
PORTCULLIS_LABEL(UpstreamVerb, upstream_verb,
                 {"XFORWARD", "MAIL", "RCPT", "DATA", "BDAT", "end_of_data", "RSET"})

enum class ConnectResult : std::uint8_t { success, refused, timeout, lost, tls, greeting, login, other };
PORTCULLIS_LABEL(ConnectResult, connect_result,
                 {"success", "refused", "timeout", "lost", "tls", "greeting", "login", "other"})

enum class ConnectionState : std::uint8_t { active, idle };
PORTCULLIS_LABEL(ConnectionState, connection_state, {"active", "idle"})

enum class FailoverReason : std::uint8_t { connect, tls, greeting, login };
PORTCULLIS_LABEL(FailoverReason, failover_reason, {"connect", "tls", "greeting", "login"})

// In the order of net::ReclaimReason.
enum class ReclaimReason : std::uint8_t { idle, unsettled, half_closed, slow_client, slow_server, stalled };
PORTCULLIS_LABEL(ReclaimReason, reclaim_reason,
                 {"idle", "unsettled", "half_closed", "slow_client", "slow_server", "stalled"})

enum class Capability : std::uint8_t {
  pipelining,
  eight_bit_mime,
  smtputf8,
  chunking,
  dsn,
  enhanced_status_codes,
  starttls,
  size,
  auth,
  xforward,
  xclient,
};
PORTCULLIS_LABEL(Capability, capability,
                 {"PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS",
                  "SIZE", "AUTH", "XFORWARD", "XCLIENT"})

enum class Sink : std::uint8_t { stderr_, file, syslog };
PORTCULLIS_LABEL(Sink, sink, {"stderr", "file", "syslog"})

enum class Route : std::uint8_t { metrics, healthz, readyz, other };
PORTCULLIS_LABEL(Route, route, {"/metrics", "/healthz", "/readyz", "other"})
enum class HttpCode : std::uint8_t {};
PORTCULLIS_LABEL(HttpCode, http_code,
                 {"200", "400", "404", "405", "413", "414", "431", "503", "505", "other"})

enum class BufferKind : std::uint8_t { client_output, upstream_output, session };
PORTCULLIS_LABEL(BufferKind, buffer_kind, {"client_output", "upstream_output", "session"})
#undef PORTCULLIS_LABEL

// The values of a fixed list; empty for labels from the configuration.
constexpr std::span<const std::string_view> values_of(Dim dim) {
  switch (dim) {
#define PORTCULLIS_CASE(dim) \
  case Dim::dim:             \
    return dim##_values
    PORTCULLIS_CASE(direction);
    PORTCULLIS_CASE(verb);
    PORTCULLIS_CASE(reply_verb);
    PORTCULLIS_CASE(reply_code);
    PORTCULLIS_CASE(code_class);
    PORTCULLIS_CASE(violation);
    PORTCULLIS_CASE(connection_reject);
    PORTCULLIS_CASE(proxy_version);
    PORTCULLIS_CASE(proxy_result);
    PORTCULLIS_CASE(close_reason);
    PORTCULLIS_CASE(tls_side);
    PORTCULLIS_CASE(outcome);
    PORTCULLIS_CASE(tls_version);
    PORTCULLIS_CASE(tls_failure);
    PORTCULLIS_CASE(mechanism);
    PORTCULLIS_CASE(auth_result);
    PORTCULLIS_CASE(backend);
    PORTCULLIS_CASE(backend_result);
    PORTCULLIS_CASE(not_asked);
    PORTCULLIS_CASE(cache_result);
    PORTCULLIS_CASE(auth_scope);
    PORTCULLIS_CASE(stage);
    PORTCULLIS_CASE(action);
    PORTCULLIS_CASE(mode);
    PORTCULLIS_CASE(spoof_check);
    PORTCULLIS_CASE(rate_unit);
    PORTCULLIS_CASE(store_op);
    PORTCULLIS_CASE(message_result);
    PORTCULLIS_CASE(recipient_result);
    PORTCULLIS_CASE(phase);
    PORTCULLIS_CASE(upstream_verb);
    PORTCULLIS_CASE(connect_result);
    PORTCULLIS_CASE(connection_state);
    PORTCULLIS_CASE(reclaim_reason);
    PORTCULLIS_CASE(failover_reason);
    PORTCULLIS_CASE(capability);
    PORTCULLIS_CASE(sink);
    PORTCULLIS_CASE(route);
    PORTCULLIS_CASE(http_code);
    PORTCULLIS_CASE(buffer_kind);
#undef PORTCULLIS_CASE
    default:
      return {};
  }
}

namespace detail {

// Index of a three-digit code in a list of such whose last value is "other".
constexpr std::size_t index_of_code(std::span<const std::string_view> values, unsigned code) {
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    const std::string_view value = values[i];
    if (static_cast<unsigned>(value[0] - '0') * 100 + static_cast<unsigned>(value[1] - '0') * 10 +
            static_cast<unsigned>(value[2] - '0') ==
        code)
      return i;
  }
  return values.size() - 1;
}

constexpr auto reply_code_table() {
  std::array<std::uint8_t, 600> table{};
  for (unsigned code = 0; code < table.size(); ++code)
    table[code] = static_cast<std::uint8_t>(index_of_code(reply_code_values, code));
  return table;
}
inline constexpr auto reply_codes = reply_code_table();

}  // namespace detail

constexpr ReplyCode code_index(unsigned code) {
  return ReplyCode{code < detail::reply_codes.size() ? detail::reply_codes[code] : detail::reply_codes[0]};
}
constexpr HttpCode http_code_index(unsigned code) {
  return HttpCode{static_cast<std::uint8_t>(detail::index_of_code(http_code_values, code))};
}
constexpr CodeClass code_class_of(unsigned code) {
  return code >= 200 && code < 600 ? CodeClass{static_cast<std::uint8_t>(code / 100 - 2)}
                                   : CodeClass::permanent;
}
// From policy::SpoofCheck, which has `none` in front; not to be called for that.
template <typename Check>
constexpr SpoofCheck spoof_index(Check check) {
  return SpoofCheck{static_cast<std::uint8_t>(static_cast<std::uint8_t>(check) - 1)};
}

// From policy::Action; not to be called for its `accept`.
template <typename Decision>
constexpr Action action_index(Decision action) {
  return Action{static_cast<std::uint8_t>(static_cast<std::uint8_t>(action) - 1)};
}

// The label's name in the exposition: "reason" for Dim::close_reason.
std::string_view label_name(Dim dim);

}  // namespace portcullis::metrics
