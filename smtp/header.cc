#include "smtp/header.h"

#include <algorithm>
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
    {"From", Field::from, true},
    {"Sender", Field::sender, true},
    {"Reply-To", Field::reply_to, true},
    {"To", Field::recipients, true},
    {"Cc", Field::recipients, true},
    {"Date", Field::date, true},
    {"Message-ID", Field::message_id, true},
    {"Subject", Field::subject, true},
    {"Received", Field::received, false},
    {"Resent-From", Field::resent_author, false},
    {"Resent-Sender", Field::resent_author, false},
    {"MIME-Version", Field::mime_version, true},
    {"Content-Type", Field::content_type, true},
    {"Content-Disposition", Field::content_disposition, true},
    {"Content-Transfer-Encoding", Field::content_transfer_encoding, true},
};
constexpr Row other_row{"", Field::other, false};
constexpr Row other_content_row{content_prefix, Field::content_other, true};

const Row& row_of(std::string_view name) {
  for (const Row& row : rows) {
    if (equals_ignoring_case(row.name, name)) return row;
  }
  const bool content = name.size() > content_prefix.size() && starts_with_ignoring_case(name, content_prefix);
  return content ? other_content_row : other_row;
}

// Reads the fields one by one into HeaderFacts; the first fault ends it.
class HeaderReader {
 public:
  explicit HeaderReader(const HeaderOptions& options) : options_(options) {}

  bool read(const HeaderField& field);
  bool finish();
  HeaderFacts& facts() { return facts_; }
  HeaderFault& fault() { return fault_; }

 private:
  bool check_once(const Row& row, std::string_view name);
  bool read_authors(std::string_view name, std::string_view body, std::vector<HeaderMailbox>& out);
  bool fail(std::string_view field, std::string_view reason) {
    fault_ = {std::string(field), std::string(reason)};
    return false;
  }

  HeaderOptions options_;
  HeaderFacts facts_;
  HeaderFault fault_;
  std::vector<std::string_view> seen_;  // of those that may occur once
};

bool HeaderReader::check_once(const Row& row, std::string_view name) {
  if (!row.once) return true;
  const bool twice =
      std::ranges::any_of(seen_, [&](auto other) { return equals_ignoring_case(name, other); });
  if (twice) {
    // Of names that are not in the table only the prefix is quoted: the reply is not the client's to write.
    const bool known = row.field != Field::content_other;
    const std::string_view shown = known ? row.name : "Content";
    return fail(shown, "two " + std::string(shown) + (known ? "" : "-*") + " fields");
  }
  if (seen_.size() == single_fields) return fail("header", "too many Content-* fields");
  seen_.push_back(name);
  return true;
}

bool HeaderReader::read_authors(std::string_view name, std::string_view body,
                                std::vector<HeaderMailbox>& out) {
  const std::string text = unfold(body);
  if (!options_.smtputf8 && has_eight_bit(text)) return fail(name, "octets above 127");
  if (options_.smtputf8 && !is_valid_utf8(text)) return fail(name, "invalid UTF-8");
  auto mailboxes = parse_author_list(text, options_.smtputf8);
  if (!mailboxes) return fail(name, mailboxes.error());
  std::ranges::move(*mailboxes, std::back_inserter(out));
  return true;
}

bool HeaderReader::read(const HeaderField& field) {
  const Row& row = row_of(field.name);
  if (!check_once(row, field.name)) return false;
  switch (row.field) {
    case Field::from:
      facts_.from_text = unfold(field.body);
      return read_authors(row.name, field.body, facts_.from);
    case Field::sender:
      if (!read_authors(row.name, field.body, facts_.sender)) return false;
      return facts_.sender.size() == 1 || fail(row.name, "several mailboxes");
    case Field::resent_author:
      return read_authors(row.name, field.body, facts_.resent_from);
    case Field::reply_to:
      if (auto mailboxes = parse_author_list(unfold(field.body), true))
        facts_.reply_to = std::move(*mailboxes);
      return true;
    case Field::recipients:
      facts_.visible_recipients += count_mailboxes(unfold(field.body));
      return true;
    case Field::subject:
      facts_.subject = utf8_prefix(unfold(field.body), subject_octets);
      return true;
    case Field::message_id:
      facts_.message_id = utf8_prefix(unfold(field.body), message_id_octets);
      return true;
    case Field::received:
      ++facts_.received_fields;
      return true;
    case Field::date:
      facts_.has_date = true;
      return true;
    case Field::content_type:
      facts_.content_type = unfold(field.body);
      return true;
    case Field::content_disposition:
      facts_.content_disposition = unfold(field.body);
      return true;
    case Field::content_transfer_encoding:
      facts_.content_transfer_encoding = unfold(field.body);
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
  const auto fields = split_header(block);
  if (!fields) return std::unexpected(fields.error());
  HeaderReader reader(options);
  for (const HeaderField& field : *fields) {
    if (!reader.read(field)) return std::unexpected(std::move(reader.fault()));
  }
  if (!reader.finish()) return std::unexpected(std::move(reader.fault()));
  reader.facts().eight_bit = has_eight_bit(block);
  return std::move(reader.facts());
}

}  // namespace portcullis::smtp
