// The answer of the chain: what happens, what is said, and everything that fired (shadow included),
// so that journal and metrics need not guess.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policy/settings.h"
#include "smtp/reply.h"

namespace portcullis::policy {

enum class Stage : std::uint8_t { connect, mail, rcpt, header, message, command };
inline constexpr std::size_t stage_count = 6;
std::string_view name_of(Stage stage);

enum class Action : std::uint8_t { accept, defer, reject };
inline constexpr std::size_t action_count = 3;
std::string_view name_of(Action action);
std::string_view name_of(Mode mode);

// Which spoofing check fired; `none` for other rules.
enum class SpoofCheck : std::uint8_t { none, envelope, header_from, sender, domain, unauth_local };
inline constexpr std::size_t spoof_check_count = 6;
std::string_view name_of(SpoofCheck check);

// One rule that fired.
struct Hit {
  std::uint16_t rule = 0;  // index into Chain::rule_names()
  Stage stage = Stage::mail;
  Action action = Action::reject;
  Mode mode = Mode::enforce;
  SpoofCheck spoof = SpoofCheck::none;
  std::string identity = {};  // the address that failed the check; empty for other rules
};

struct Verdict {
  Action action = Action::accept;
  bool close = false;      // 421: the session ends (connect stage)
  smtp::Reply reply;       // filled unless accepted; the session appends rule name and id
  std::uint16_t rule = 0;  // that decided, unless accepted
  std::vector<Hit> hits;   // all that fired, the deciding one included
};

}  // namespace portcullis::policy
