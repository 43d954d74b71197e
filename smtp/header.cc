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
constexpr std::size_t compared_names = 64;      // of Content-* fields without a row, when looking for two
constexpr std::string_view content_prefix = "Content-";
constexpr std::string_view block = "header";  // what a finding about no field in particular names

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

constexpr bool is_author(Field field) {
  return field == Field::from || field == Field::sender || field == Field::resent_author;
}

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

constexpr std::string_view author_names[] = {"From", "Sender", "Resent-From", "Resent-Sender"};

constexpr bool is_name_octet(char c) { return is_alnum(c) || c == '-'; }

// Whether some reader could take a line that is no field for an author field: one that drops what may not
// stand in a name ("Fr om: a", ">From: a"), or that asks for no colon right behind it ("From a").
bool resembles_author(std::string_view line) {
  constexpr std::size_t compared_octets = 64;
  while (!line.empty() && !is_name_octet(line.front())) line.remove_prefix(1);
  std::string name;
  for (const char c : line.substr(0, std::min(line.find(':'), compared_octets))) {
    if (is_name_octet(c)) name += c;
  }
  return std::ranges::any_of(author_names, [&](std::string_view author) {
    if (line.contains(':') && equals_ignoring_case(name, author)) return true;
    return starts_with_ignoring_case(line, author) &&
           (line.size() == author.size() || !is_name_octet(line[author.size()]));
  });
}

// Reads the fields one by one into the report.
class HeaderReader {
 public:
  HeaderReader(const HeaderOptions& options, HeaderReport& report)
      : options_(options), report_(report), facts_(report.facts) {}

  void read(const HeaderField& field);
  void finish(std::string_view fault);

 private:
  void read_line(std::string_view line);
  void read_field(const Row& row, const HeaderField& field);
  bool is_again(const Row& row, std::string_view name);
  void read_author(const Row& row, const HeaderField& field);
  void read_content(std::string& fact, bool again, const HeaderField& field);
  void may_end_here(std::string_view reason) {
    if (end_for_some_.empty()) end_for_some_ = reason;
  }
  void find(Strictness rule, std::string_view field, std::string_view reason);

  HeaderOptions options_;
  HeaderReport& report_;
  HeaderFacts& facts_;
  std::array<bool, strictness_count> found_{};
  std::size_t found_in_block_ = 0;  // findings about the block, which come first
  // Of the fields that may occur once: the rows that were seen, and the names that have no row.
  std::array<bool, std::size(rows)> seen_rows_{};
  std::vector<std::string_view> seen_names_;
  std::string_view end_for_some_;  // why some readers ended the header here or before; empty: none did
  std::string memory_;             // of a field that was folded
};

void HeaderReader::find(Strictness rule, std::string_view field, std::string_view reason) {
  if (std::exchange(found_[static_cast<std::size_t>(rule)], true)) return;
  auto at = report_.findings.end();
  if (field == block) at = report_.findings.begin() + static_cast<std::ptrdiff_t>(found_in_block_++);
  report_.findings.insert(at, {rule, std::string(field), std::string(reason)});
}

bool HeaderReader::is_again(const Row& row, std::string_view name) {
  if (!row.once) return false;
  if (row.field != Field::content_other) {
    return std::exchange(seen_rows_[static_cast<std::size_t>(&row - rows)], true);
  }
  if (std::ranges::any_of(seen_names_, [&](auto other) { return equals_ignoring_case(name, other); })) {
    return true;
  }
  if (seen_names_.size() < compared_names) seen_names_.push_back(name);
  return false;
}

// A line that is no field: nothing to some, the end of the header to others (Postfix and Sendmail put an
// empty line before it).
void HeaderReader::read_line(std::string_view line) {
  const std::string_view reason = odd_line_fault(line);
  if (resembles_author(line)) return find(Strictness::author_hidden, block, reason);
  find(Strictness::header_line, block, reason);
  may_end_here(reason);
}

void HeaderReader::read(const HeaderField& field) {
  if (field.line_end) find(Strictness::header_control, block, "a control character");
  if (field.name.empty()) return read_line(field.body);
  const Row& row = row_of(field.name);
  if (is_author(row.field)) {
    if (field.blank_before_colon) {
      find(Strictness::author_hidden, block, "white space before the colon");
    } else if (field.blank_line) {
      find(Strictness::author_hidden, block, "a line of white space only");
    } else if (!end_for_some_.empty()) {
      find(Strictness::author_hidden, block, "an author after " + std::string(end_for_some_));
    }
  } else if (field.blank_before_colon) {
    find(Strictness::header_line, block, "white space before the colon");
  }
  read_field(row, field);
  if (field.blank_line) {
    find(Strictness::header_line, block, "a line of white space only");
    may_end_here("a line of white space only");
  }
}

void HeaderReader::read_author(const Row& row, const HeaderField& field) {
  const std::string_view text = unfold(field, memory_);
  if (row.field == Field::from && facts_.from_text.empty()) {
    facts_.from_text = utf8_prefix(text, limits::author_field_octets);
  }
  if (text.size() > limits::author_field_octets) {
    return find(Strictness::header_limit, row.name, "a field too long");
  }
  auto& authors = row.field == Field::from     ? facts_.from
                  : row.field == Field::sender ? facts_.sender
                                               : facts_.resent_from;
  const bool nobody = options_.notice && row.field == Field::from;
  auto mailboxes = parse_author_list(text, {options_.smtputf8, nobody});
  if (!mailboxes) return find(Strictness::author_syntax, row.name, mailboxes.error());
  if (row.field == Field::sender && mailboxes->size() > 1) {
    find(Strictness::author_count, row.name, "several mailboxes");
  }
  if (authors.empty()) {
    authors = std::move(*mailboxes);
  } else {
    std::ranges::move(*mailboxes, std::back_inserter(authors));
  }
}

// Of several fields a reader takes the first or the last: a multipart among them is one to us.
void HeaderReader::read_content(std::string& fact, bool again, const HeaderField& field) {
  const std::string_view text = unfold(field, memory_);
  if (again && text == fact) return;
  facts_.ambiguous_content = facts_.ambiguous_content || again;
  if (!again || starts_with_ignoring_case(text, "multipart/")) fact = text;
}

void HeaderReader::read_field(const Row& row, const HeaderField& field) {
  const bool again = is_again(row, field.name);
  if (again) {
    // Of names that are not in the table only the prefix is quoted: the reply is not the client's to write.
    const bool known = row.field != Field::content_other;
    const std::string_view shown = known ? row.name : "Content";
    const auto reason = "two " + std::string(shown) + (known ? "" : "-*") + " fields";
    find(is_author(row.field) ? Strictness::author_count : Strictness::field_once, shown, reason);
  }
  const auto text = [&] { return unfold(field, memory_); };
  switch (row.field) {
    case Field::from:
    case Field::sender:
    case Field::resent_author:
      return read_author(row, field);
    case Field::reply_to:
      if (auto mailboxes = parse_author_list(text(), {.smtputf8 = true}); mailboxes && !again) {
        facts_.reply_to = std::move(*mailboxes);
      }
      return;
    case Field::recipients:
      facts_.visible_recipients += count_mailboxes(text());
      return;
    case Field::subject:
      if (!again) facts_.subject = utf8_prefix(text(), subject_octets);
      return;
    case Field::message_id:
      if (!again) facts_.message_id = utf8_prefix(text(), message_id_octets);
      return;
    case Field::received:
      ++facts_.received_fields;
      return;
    case Field::date:
      facts_.has_date = true;
      return;
    case Field::content_type:
      return read_content(facts_.content_type, again, field);
    case Field::content_disposition:
      return read_content(facts_.content_disposition, again, field);
    case Field::content_transfer_encoding:
      return read_content(facts_.content_transfer_encoding, again, field);
    case Field::mime_version:
    case Field::content_other:
    case Field::other:
      return;
  }
}

// What only the whole header can tell.
void HeaderReader::finish(std::string_view fault) {
  if (!fault.empty()) find(Strictness::header_limit, block, fault);
  // Where From names nobody, a reader would take Resent-From: nobody judges that one from outside.
  const bool nobody = options_.notice && facts_.resent_from.empty();
  if (facts_.from.empty() && !nobody) {
    find(Strictness::author_missing, "From", facts_.from_text.empty() ? "no From field" : "no author");
  }
  // RFC 5322 3.6.2: who of them sent it?
  if (facts_.from.size() > 1 && facts_.sender.empty()) {
    find(Strictness::author_count, "From", "several mailboxes without Sender");
  }
}

}  // namespace

HeaderReport parse_header(std::string_view block, const HeaderOptions& options) {
  HeaderReport report;
  HeaderReader reader(options, report);
  HeaderFieldReader fields(block);
  for (HeaderField field; fields.next(field);) reader.read(field);
  reader.finish(fields.fault());
  report.facts.eight_bit = has_eight_bit(block);
  return report;
}

}  // namespace portcullis::smtp
