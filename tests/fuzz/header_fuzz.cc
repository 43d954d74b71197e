// A header block: the collector finds the same end at any cut; what the parser accepts has one author
// a careless reader would find too: every octet of the addresses stands in the From field as it is.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "smtp/address_list.h"
#include "smtp/header.h"

namespace {

using namespace portcullis::smtp;

void require(bool holds) {
  if (!holds) std::abort();
}

std::string collect(std::string_view content, std::size_t piece) {
  HeaderCollector collector(4096);
  while (!content.empty()) {
    const std::string part(content.substr(0, piece));
    const std::size_t taken = collector.feed(part);
    require(taken <= part.size());
    content.remove_prefix(taken);
    if (taken < part.size()) break;
  }
  require(!collector.complete() || collector.block().ends_with("\r\n"));
  return std::string(collector.block());
}

void check_authors(const HeaderFacts& facts, const HeaderOptions& options) {
  require(options.notice || !facts.from.empty());
  require(facts.from.size() <= 1 || facts.sender.size() == 1);
  for (const auto& author : facts.from) {
    const auto& [local, domain] = author.mailbox;
    require(!local.empty() && !domain.empty());
    require(local.find_first_of(" \t\r\n\"<>@,;:()\\") == std::string::npos);
    require(domain.find_first_of(" \t\r\n\"<>@,;()\\") == std::string::npos);
    require(facts.from_text.contains(local) && facts.from_text.contains("@" + domain));
    require(author.display_name.find_first_of("<>\r\n") == std::string::npos);
  }
  // Outside quotes nothing but our authors has an '@', or it is one of them twice.
  require(count_mailboxes(facts.from_text) <= 2 * facts.from.size());
  require(count_mailboxes(facts.from_text) >= facts.from.size());
}

// Unless the configuration says otherwise.
bool is_enforced(const HeaderFinding& finding) {
  return finding.rule != Strictness::header_line && finding.rule != Strictness::field_once;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const HeaderOptions options{.smtputf8 = (data[0] & 1) != 0, .notice = (data[0] & 2) != 0};
  const std::size_t piece = std::size_t{1} + data[0] / 4;
  const std::string_view content(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::string block = collect(content, content.size());
  require(block == collect(content, piece));
  for (const std::string_view text : {std::string_view(block), content}) {
    const HeaderReport report = parse_header(text, options);
    require(report.findings.size() <= strictness_count);
    if (std::ranges::none_of(report.findings, is_enforced)) check_authors(report.facts, options);
  }
  return 0;
}
