// Server side of SASL as SMTP AUTH carries it (RFC 4954, 4422): PLAIN (4616), LOGIN (the
// draft every client follows), XOAUTH2 (Google's), OAUTHBEARER (7628), EXTERNAL (4422 app. A).
// A machine with step(): decoded client response in; challenge, credentials or failure out.
// It verifies nothing: the credentials go to a backend.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace portcullis::smtp {

enum class Mechanism : std::uint8_t { plain, login, xoauth2, oauthbearer, external };
inline constexpr std::size_t mechanism_count = 5;

std::optional<Mechanism> mechanism_by_name(std::string_view name);  // case-insensitive
std::string_view name_of(Mechanism mechanism);

// A string that is overwritten before its memory is given back (law 6).
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view bytes) : bytes_(bytes) {}
  Secret(const Secret&) = default;
  Secret& operator=(const Secret& other);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { wipe(); }
  std::string_view view() const { return bytes_; }
  bool empty() const { return bytes_.empty(); }
  void wipe();

 private:
  std::string bytes_;
};

// Overwrites `bytes` in a way the optimiser keeps, then clears it.
void wipe(std::string& bytes);

struct Credentials {
  Mechanism mechanism = Mechanism::plain;
  std::string authcid;  // who: non-empty except for EXTERNAL without an authzid
  std::string authzid;  // as whom, if the client named another identity; usually empty
  Secret secret;        // password or bearer token; empty for EXTERNAL
};

class SaslExchange {
 public:
  enum class Status : std::uint8_t {
    challenge,    // send 334 with challenge() in base64
    credentials,  // done: credentials() is filled
    malformed,    // 501 5.5.2
  };
  explicit SaslExchange(Mechanism mechanism) : mechanism_(mechanism) {}

  // First call: the initial response if there was one ("=" decodes to an empty string), else
  // nullopt. Then each decoded response line. At most three rounds; malformed once it is over.
  Status step(std::optional<std::string_view> response);
  std::string_view challenge() const { return challenge_; }
  // The credentials; the exchange keeps nothing secret afterwards.
  Credentials take_credentials();
  Mechanism mechanism() const { return mechanism_; }

 private:
  enum class State : std::uint8_t { start, message, password, over };
  bool read(std::string_view message);
  Status give_up();

  Mechanism mechanism_;
  State state_ = State::start;
  std::string_view challenge_;
  Credentials credentials_;
};

// When a backend refused a bearer token: what to send in one more 334 (base64), after which the
// client's answer, a lone %x01 (RFC 7628 3.2.3) or an empty line (XOAUTH2), is read, whatever it
// is, and the 535 follows. Empty for mechanisms that have no such round. Never a second attempt.
std::string_view error_challenge(Mechanism mechanism);

}  // namespace portcullis::smtp
