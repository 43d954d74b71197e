#include "smtp/sasl.h"

#include <algorithm>
#include <array>
#include <utility>

#include "smtp/ascii.h"
#include "smtp/limits.h"
#include "smtp/utf8.h"

namespace portcullis::smtp {
namespace {

// Indexed by Mechanism.
constexpr std::array<std::string_view, mechanism_count> names = {"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER",
                                                                 "EXTERNAL"};
constexpr char kvsep = '\x01';  // RFC 7628 3.1

// What may name an identity. Who it is, policy decides (RFC 8265).
bool is_login(std::string_view text) {
  if (text.empty() || text.size() > limits::login_octets) return false;
  while (!text.empty()) {
    const std::size_t octets = utf8_printable_octets(text);
    if (octets == 0) return false;
    text.remove_prefix(octets);
  }
  return true;
}

// NUL ends a password early for libraries in C: "right\0wrong" must not be "right" (RFC 4616 2).
bool is_password(std::string_view text) {
  return !text.empty() && text.size() <= limits::secret_octets && text.find('\0') == std::string_view::npos;
}

// "Bearer " b64token (RFC 6750 2.1); JWTs are within it.
std::optional<std::string_view> bearer_token(std::string_view auth) {
  constexpr std::string_view scheme = "Bearer ";
  if (!starts_with_ignoring_case(auth, scheme)) return std::nullopt;
  const std::string_view token = auth.substr(scheme.size());
  const bool clean = std::ranges::all_of(token, [](char c) {
    return is_alnum(c) || std::string_view("-._~+/=").find(c) != std::string_view::npos;
  });
  if (token.empty() || token.size() > limits::secret_octets || !clean) return std::nullopt;
  return token;
}

// saslname of RFC 5801 section 4: ',' and '=' are written "=2C" and "=3D".
std::optional<std::string> decode_saslname(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t taken = 1;
    char c = text[0];
    if (c == '=') {
      if (text.starts_with("=2C")) {
        c = ',';
      } else if (text.starts_with("=3D")) {
        c = '=';
      } else {
        return std::nullopt;
      }
      taken = 3;
    }
    out += c;
    text.remove_prefix(taken);
  }
  return out;
}

// Each reads a whole message of its mechanism into `out`; false for one that is malformed.

// [authzid] NUL authcid NUL passwd (RFC 4616 2).
bool read_plain(std::string_view message, Credentials& out) {
  if (std::ranges::count(message, '\0') != 2) return false;
  const std::string_view authzid = next_token(message, '\0');
  const std::string_view authcid = next_token(message, '\0');
  if (!is_login(authcid) || !is_password(message) || !(authzid.empty() || is_login(authzid))) return false;
  out.authzid = authzid;
  out.authcid = authcid;
  out.secret = Secret(message);
  return true;
}

// "user=" login ^A "auth=Bearer " token ^A ^A
bool read_xoauth2(std::string_view message, Credentials& out) {
  constexpr std::string_view user_key = "user=";
  constexpr std::string_view auth_key = "auth=";
  const std::string_view user = next_token(message, kvsep);
  const std::string_view auth = next_token(message, kvsep);
  if (!user.starts_with(user_key) || !auth.starts_with(auth_key) || message != "\x01") return false;
  const auto token = bearer_token(auth.substr(auth_key.size()));
  if (!token || !is_login(user.substr(user_key.size()))) return false;
  out.authcid = user.substr(user_key.size());
  out.secret = Secret(*token);
  return true;
}

// The key/value pairs of RFC 7628 3.1: *(key "=" value kvsep) kvsep. All but "auth" (host, port,
// whatever comes) are read and not used. A key given twice has no one meaning.
std::optional<std::string_view> oauthbearer_auth(std::string_view pairs) {
  std::optional<std::string_view> auth;
  if (!pairs.ends_with("\x01\x01")) return std::nullopt;
  pairs.remove_suffix(1);
  while (!pairs.empty()) {
    const std::string_view pair = next_token(pairs, kvsep);
    const std::size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string_view::npos) return std::nullopt;
    if (!std::ranges::all_of(pair.substr(0, equals), is_alpha)) return std::nullopt;
    if (pair.substr(0, equals) != "auth") continue;
    if (auth) return std::nullopt;
    auth = pair.substr(equals + 1);
  }
  return auth;
}

// gs2-header kvsep *kvpair kvsep (RFC 7628 3.1), gs2-header of RFC 5801 section 4. Without an
// authzid nobody but the token's issuer could tell whose it is, so it is required.
bool read_oauthbearer(std::string_view message, Credentials& out) {
  const std::string_view binding = next_token(message, ',');
  if (binding != "n" && binding != "y") return false;  // "p=": a channel binding we do not have
  const std::string_view authzid = next_token(message, ',');
  if (!authzid.starts_with("a=") || !message.starts_with(kvsep)) return false;
  const auto login = decode_saslname(authzid.substr(2));
  const auto auth = oauthbearer_auth(message.substr(1));
  if (!login || !is_login(*login) || !auth) return false;
  const auto token = bearer_token(*auth);
  if (!token) return false;
  out.authcid = *login;
  out.secret = Secret(*token);
  return true;
}

// The identity is the certificate's; the message may name another one to act as.
bool read_external(std::string_view message, Credentials& out) {
  if (!message.empty() && !is_login(message)) return false;
  out.authzid = message;
  return true;
}

}  // namespace

std::optional<Mechanism> mechanism_by_name(std::string_view name) {
  const auto same = [name](std::string_view known) { return equals_ignoring_case(name, known); };
  const auto* const found = std::ranges::find_if(names, same);
  if (found == names.end()) return std::nullopt;
  return static_cast<Mechanism>(found - names.begin());
}

std::string_view name_of(Mechanism mechanism) { return names.at(static_cast<std::size_t>(mechanism)); }

std::string_view error_challenge(Mechanism mechanism) {
  switch (mechanism) {
    case Mechanism::oauthbearer:
      return R"({"status":"invalid_token","schemes":"bearer"})";
    case Mechanism::xoauth2:
      return R"({"status":"401","schemes":"bearer"})";
    default:
      return {};
  }
}

SaslExchange::Status SaslExchange::step(std::optional<std::string_view> response) {
  if (state_ == State::over) return Status::malformed;
  if (state_ == State::start) {
    state_ = State::message;
    if (!response) {  // the client waits for us to begin (RFC 4954 4)
      challenge_ = mechanism_ == Mechanism::login ? "Username:" : "";
      return Status::challenge;
    }
  }
  if (!response) return give_up();
  if (mechanism_ == Mechanism::login && state_ == State::message) {
    if (!is_login(*response)) return give_up();
    credentials_.authcid = *response;
    state_ = State::password;
    challenge_ = "Password:";
    return Status::challenge;
  }
  credentials_.mechanism = mechanism_;
  if (!read(*response)) return give_up();
  state_ = State::over;
  return Status::credentials;
}

bool SaslExchange::read(std::string_view message) {
  switch (mechanism_) {
    case Mechanism::plain:
      return read_plain(message, credentials_);
    case Mechanism::xoauth2:
      return read_xoauth2(message, credentials_);
    case Mechanism::oauthbearer:
      return read_oauthbearer(message, credentials_);
    case Mechanism::external:
      return read_external(message, credentials_);
    case Mechanism::login:
      if (!is_password(message)) return false;
      credentials_.secret = Secret(message);
      return true;
  }
  return false;
}

SaslExchange::Status SaslExchange::give_up() {
  state_ = State::over;
  credentials_ = Credentials{};
  return Status::malformed;
}

Credentials SaslExchange::take_credentials() { return std::exchange(credentials_, Credentials{}); }

}  // namespace portcullis::smtp
