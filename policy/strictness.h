// The table of the strictness rules (smtp/strictness.h): one row has the name that replies, journal and
// metrics show, the mode a rule has unless the configuration says otherwise, and whether it may be relaxed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "smtp/strictness.h"

namespace portcullis::policy {

enum class Mode : std::uint8_t { enforce, shadow, off };

enum class Relaxed : std::uint8_t {
  never,             // two programs would see two messages or two commands, or a bound would be none
  without_identity,  // only while no enforced rule judges the author that it keeps unambiguous
  freely,
};

struct StrictnessRow {
  smtp::Strictness rule;
  std::string_view name;
  Relaxed relaxed;
  Mode initial;
  std::string_view help;  // what fires it, for the documents
};

// In the order of smtp::Strictness.
std::span<const StrictnessRow, smtp::strictness_count> strictness_rows();

// [policy.strictness]: what the admin chose. `mode` is for all rules that enforce unless told otherwise.
struct StrictnessSettings {
  std::optional<Mode> mode = {};
  std::array<std::optional<Mode>, smtp::strictness_count> own = {};
};

struct Settings;
// Whether an enforced rule judges the authors in the header: then they must be unambiguous.
bool judges_authors(const Settings& settings);
// The mode each rule has in effect.
std::array<Mode, smtp::strictness_count> strictness_modes(const Settings& settings);

}  // namespace portcullis::policy
