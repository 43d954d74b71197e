#include "smtp/header.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "smtp/address_list.h"
#include "smtp/ascii.h"
#include "smtp/header_fields.h"
#include "smtp/limits.h"
#include "smtp/utf8.h"

namespace portcullis::smtp {
namespace {

constexpr std::size_t subject_octets = 256;
constexpr std::size_t message_id_octets = 998;  // a line of RFC 5322
constexpr std::size_t single_fields = 64;       // different names of which one field may exist
constexpr std::string_view content_prefix = "Content-";

enum class Field : std::uint8_t {
  from,
  sender,
  reply_to,
  resent_author,
  recipients,
  date,
  message_id,
  subject,
  received,
  mime_version,
  content_type,
  content_disposition,
  content_transfer_encoding,
  content_other,
  other,
};

// The fields we read or whose number matters (RFC 5322 3.6, 2045 3).
struct Row {
  std::string_view name;
  Field field;
  bool once;
};
constexpr Row rows[] = {
    // by size of the name
    {"To", Field::recipients, true},
    {"Cc", Field::recipients, true},
    {"From", Field::from, true},
    {"Date", Field::date, true},
    {"Sender", Field::sender, true},
    {"Subject", Field::subject, true},
    {"Reply-To", Field::reply_to, true},
    {"Received", Field::received, false},
    {"Message-ID", Field::message_id, true},
    {"Resent-From", Field::resent_author, false},
    {"MIME-Version", Field::mime_version, true},
    {"Content-Type", Field::content_type, true},
    {"Resent-Sender", Field::resent_author, false},
    {"Content-Disposition", Field::content_disposition, true},
    {"Content-Transfer-Encoding", Field::content_transfer_encoding, true},
};
constexpr auto size_of = [](const Row& row) { return row.name.size(); };
static_assert(std::ranges::is_sorted(rows, {}, size_of));
constexpr std::size_t name_octets = std::ranges::max(rows, {}, size_of).name.size();
// How many rows have a name shorter than the index: where those of a size begin and end.
constexpr auto shorter_rows = [] {
  std::array<std::uint8_t, name_octets + 2> count{};
  for (const Row& row : rows) {
    for (std::size_t size = row.name.size() + 1; size < count.size(); ++size) ++count[size];
  }
  return count;
}();
constexpr Row other_row{"", Field::other, false};
constexpr Row other_content_row{content_prefix, Field::content_other, true};

const Row& row_of(std::string_view name) {
  if (name.size() <= name_octets) {
    for (std::size_t i = shorter_rows[name.size()]; i < shorter_rows[name.size() + 1]; ++i) {
      if (equals_ignoring_case(rows[i].name, name)) return rows[i];
    }
  }
  const bool content = name.size() > content_prefix.size() && starts_with_ignoring_case(name, content_prefix);
  return content ? other_content_row : other_row;
}

// Reads the fields one by one into HeaderFacts; the first fault ends it.
class HeaderReader {
 public:
  HeaderReader(const HeaderOptions& options, HeaderFacts& facts) : options_(options), facts_(facts) {}

  bool read(const HeaderField& field);
  bool finish();
  HeaderFault& fault() { return fault_; }

 private:
  bool check_once(const Row& row, std::string_view name);
  bool read_authors(std::string_view name, std::string_view text, std::vector<HeaderMailbox>& out);
  bool fail(std::string_view field, std::string_view reason) {
    fault_ = {std::string(field), std::string(reason)};
    return false;
  }

  HeaderOptions options_;
  HeaderFacts& facts_;
  HeaderFault fault_;
  // Of the fields that may occur once: the rows that were seen, and the names that have no row.
  std::array<bool, std::size(rows)> seen_rows_{};
  std::vector<std::string_view> seen_names_;
  std::size_t seen_ = 0;
  std::string memory_;  // of a field that was folded
};

bool HeaderReader::check_once(const Row& row, std::string_view name) {
  if (!row.once) return true;
  const bool known = row.field != Field::content_other;
  const bool twice =
      known ? std::exchange(seen_rows_[static_cast<std::size_t>(&row - rows)], true)
            : std::ranges::any_of(seen_names_, [&](auto other) { return equals_ignoring_case(name, other); });
  if (twice) {
    // Of names that are not in the table only the prefix is quoted: the reply is not the client's to write.
    const std::string_view shown = known ? row.name : "Content";
    return fail(shown, "two " + std::string(shown) + (known ? "" : "-*") + " fields");
  }
  if (seen_++ == single_fields) return fail("header", "too many Content-* fields");
  if (!known) seen_names_.push_back(name);
  return true;
}

bool HeaderReader::read_authors(std::string_view name, std::string_view text,
                                std::vector<HeaderMailbox>& out) {
  if (!options_.smtputf8 && has_eight_bit(text)) return fail(name, "octets above 127");
  if (options_.smtputf8 && !is_valid_utf8(text)) return fail(name, "invalid UTF-8");
  auto mailboxes = parse_author_list(text, options_.smtputf8);
  if (!mailboxes) return fail(name, mailboxes.error());
  if (out.empty()) {
    out = std::move(*mailboxes);
  } else {
    std::ranges::move(*mailboxes, std::back_inserter(out));
  }
  return true;
}

bool HeaderReader::read(const HeaderField& field) {
  const Row& row = row_of(field.name);
  if (!check_once(row, field.name)) return false;
  const auto text = [&] { return unfold(field, memory_); };
  switch (row.field) {
    case Field::from:
      facts_.from_text = text();
      return read_authors(row.name, facts_.from_text, facts_.from);
    case Field::sender:
      if (!read_authors(row.name, text(), facts_.sender)) return false;
      return facts_.sender.size() == 1 || fail(row.name, "several mailboxes");
    case Field::resent_author:
      return read_authors(row.name, text(), facts_.resent_from);
    case Field::reply_to:
      if (auto mailboxes = parse_author_list(text(), true)) facts_.reply_to = std::move(*mailboxes);
      return true;
    case Field::recipients:
      facts_.visible_recipients += count_mailboxes(text());
      return true;
    case Field::subject:
      facts_.subject = utf8_prefix(text(), subject_octets);
      return true;
    case Field::message_id:
      facts_.message_id = utf8_prefix(text(), message_id_octets);
      return true;
    case Field::received:
      ++facts_.received_fields;
      return true;
    case Field::date:
      facts_.has_date = true;
      return true;
    case Field::content_type:
      facts_.content_type = text();
      return true;
    case Field::content_disposition:
      facts_.content_disposition = text();
      return true;
    case Field::content_transfer_encoding:
      facts_.content_transfer_encoding = text();
      return true;
    case Field::mime_version:
    case Field::content_other:
    case Field::other:
      return true;
  }
  return true;
}

// What only the whole header can tell.
bool HeaderReader::finish() {
  if (facts_.from.empty()) return !options_.require_from || fail("From", "no From field");
  // RFC 5322 3.6.2: who of them sent it?
  return facts_.from.size() == 1 || !facts_.sender.empty() ||
         fail("From", "several mailboxes without Sender");
}

}  // namespace

std::expected<HeaderFacts, HeaderFault> parse_header(std::string_view block, const HeaderOptions& options) {
  std::expected<HeaderFacts, HeaderFault> result;
  HeaderReader reader(options, *result);
  HeaderFieldReader fields(block);
  bool good = true;
  for (HeaderField field; fields.next(field);) good = good && reader.read(field);
  // A block that is no header is said to be that, whatever its fields hold.
  if (!fields.fault().empty()) {
    result = std::unexpected(HeaderFault{"header", std::string(fields.fault())});
  } else if (!good || !reader.finish()) {
    result = std::unexpected(std::move(reader.fault()));
  } else {
    result->eight_bit = has_eight_bit(block);
  }
  return result;
}

}  // namespace portcullis::smtp
