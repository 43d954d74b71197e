#include "policy/strictness.h"

#include <algorithm>

#include "policy/settings.h"

namespace portcullis::policy {
namespace {

using smtp::Strictness;

constexpr std::array<StrictnessRow, smtp::strictness_count> rows = {{
    {Strictness::command_line, "command_line", Relaxed::never, Mode::enforce,
     "A command with a bare LF, a bare CR, a NUL, or more than 2048 octets."},
    {Strictness::helo_name, "helo_name", Relaxed::freely, Mode::off,
     "A name in EHLO or HELO that is neither a domain nor an address literal."},
    {Strictness::address_syntax, "address_syntax", Relaxed::never, Mode::enforce,
     "A path in MAIL or RCPT that cannot be read in one way."},
    {Strictness::address_form, "address_form", Relaxed::freely, Mode::off,
     "A path in MAIL or RCPT that can be read in one way and is not written as RFC 5321 4.1.2 has it: no "
     "angle brackets, dots in a row, `_` in the domain, a local part above 64 octets."},
    {Strictness::parameter_syntax, "parameter_syntax", Relaxed::never, Mode::enforce,
     "A parameter of MAIL or RCPT that is unknown, not offered, malformed or given twice."},
    {Strictness::author_count, "author_count", Relaxed::without_identity, Mode::enforce,
     "Two From or two Sender fields, several mailboxes in From without Sender, several in Sender."},
    {Strictness::author_missing, "author_missing", Relaxed::without_identity, Mode::enforce,
     "No author in From, outside of notices."},
    {Strictness::author_syntax, "author_syntax", Relaxed::without_identity, Mode::enforce,
     "An author field in which readers could find different addresses."},
    {Strictness::author_hidden, "author_hidden", Relaxed::without_identity, Mode::enforce,
     "A line that only some readers take for an author field, or an author after a line at which some "
     "readers end the header."},
    {Strictness::header_control, "header_control", Relaxed::without_identity, Mode::enforce,
     "VT, FF, FS, GS or RS in the header: the end of a line for some readers."},
    {Strictness::header_line, "header_line", Relaxed::freely, Mode::off,
     "A line in the header that is no field, or white space before the colon, where no author depends on "
     "it."},
    {Strictness::field_once, "field_once", Relaxed::freely, Mode::off,
     "Two fields of a name of which RFC 5322 3.6 or RFC 2045 allows one (From and Sender: author_count)."},
    {Strictness::header_limit, "header_limit", Relaxed::never, Mode::enforce,
     "More than 2000 fields, an author field above 64 KiB, or a header above `header_size`."},
    {Strictness::received_loop, "received_loop", Relaxed::never, Mode::enforce,
     "More Received fields than `received_fields_max`."},
    {Strictness::message_bare_lf, "message_bare_lf", Relaxed::never, Mode::enforce,
     "A bare LF in a message, unless `bare_lf = \"normalize\"`."},
    {Strictness::message_bare_cr, "message_bare_cr", Relaxed::never, Mode::enforce,
     "A bare CR in a message."},
    {Strictness::message_nul, "message_nul", Relaxed::never, Mode::enforce, "A NUL in a message."},
}};
static_assert(std::ranges::all_of(rows, [](const StrictnessRow& row) {
  return &row - rows.data() == static_cast<std::ptrdiff_t>(row.rule);
}));

}  // namespace

std::span<const StrictnessRow, smtp::strictness_count> strictness_rows() { return rows; }

bool judges_authors(const Settings& settings) {
  return settings.identity.mode == Mode::enforce || settings.outside.spoof_mode == Mode::enforce ||
         std::ranges::any_of(settings.domain_rules, [](const DomainRule& rule) {
           return rule.mode == Mode::enforce && rule.check_header;
         });
}

std::array<Mode, smtp::strictness_count> strictness_modes(const Settings& settings) {
  std::array<Mode, smtp::strictness_count> modes{};
  const bool judged = judges_authors(settings);
  for (const StrictnessRow& row : rows) {
    const auto index = static_cast<std::size_t>(row.rule);
    Mode mode = row.initial;
    if (mode == Mode::enforce) mode = settings.strictness.mode.value_or(mode);
    mode = settings.strictness.own[index].value_or(mode);
    const bool fixed = row.relaxed == Relaxed::never || (row.relaxed == Relaxed::without_identity && judged);
    modes[index] = fixed ? Mode::enforce : mode;
  }
  return modes;
}

}  // namespace portcullis::policy
