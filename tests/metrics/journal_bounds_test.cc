// No record is longer than what systemd's journal takes as one, whatever peers put into it.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "metrics/journal.h"

namespace portcullis::metrics {
namespace {

template <typename Record>
std::string rendered(const Record& record) {
  TextBuffer out;
  append_json(out, record);
  return std::string(out.view());
}

// The longest values, and those that grow most when they are written. systemd's journal cuts a line at 48
// KiB.
class JournalLineBound : public testing::TestWithParam<std::string> {
 protected:
  template <typename Record>
  static nlohmann::json bounded(const Record& record) {
    const std::string line = rendered(record);
    EXPECT_LE(line.size(), record_octets_max);
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
    return nlohmann::json::parse(line, nullptr, false);
  }
  const std::string text_ = [] {
    std::string text;
    while (text.size() < 5000) text += GetParam();
    return text;
  }();
  PeerRecord peer_{text_, 65535, text_, text_, text_, text_, text_, text_, text_, text_, text_};
};

TEST_P(JournalLineBound, OfATransaction) {
  TransactionRecord record;
  RecipientRecords recipients;
  for (int i = 0; i < 5000; ++i) recipients.add(text_, 250, {text_, text_}, text_);
  EXPECT_FALSE(recipients.empty());
  record.peer = peer_;
  record.peer.client = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff";  // not the peer's choice
  record.peer.via = record.peer.client;
  record.peer.tls_version = record.peer.tls_cipher = record.peer.mechanism = record.peer.backend =
      "as we say";
  record.recipients = recipients.json();
  record.hits.resize(5000, {text_, "message", "reject", "enforce", "header_from", text_});
  record.forwarded_client = record.forwarded_helo = record.forwarded_id = record.reverse_path = text_;
  record.header_from = record.message_id = record.subject = record.rule = text_;
  record.reply = {text_, text_};
  record.upstream = record.upstream_reply = record.queue_id = text_;
  const auto document = bounded(record);
  ASSERT_TRUE(document.is_object());
  EXPECT_GE(document["recipients"].size(), 2u);
  EXPECT_GE(document["hits"].size(), 2u);
}

TEST_P(JournalLineBound, OfASession) {
  SessionRecord record;
  RefusalRecords refusals;
  for (int i = 0; i < 10; ++i) refusals.add(text_, 535, {text_, text_});
  record.peer = peer_;
  record.reason = record.detail = text_;
  record.refusals = refusals.json();
  const auto document = bounded(record);
  ASSERT_TRUE(document.is_object());
  EXPECT_EQ(document["refusals"].size(), 5u);
}

TEST_P(JournalLineBound, OfAnEvent) {
  EventRecord record;
  record.event = record.session = record.message = text_;
  for (int i = 0; i < 200; ++i) record.fields.emplace_back(std::to_string(i) + text_, text_);
  const auto document = bounded(record);
  ASSERT_TRUE(document.is_object());
  const std::size_t kept = document["fields"].size() - 1;
  EXPECT_EQ(document["fields"]["fields_left_out"], std::to_string(200 - kept));
}

INSTANTIATE_TEST_SUITE_P(Texts, JournalLineBound,
                         testing::Values("x", "\x01", "\"", "\xff", "\xe2\x80\xae", "a\xcc\x81\x07"));

TEST(JournalLine, KeepsAHundredOrdinaryRecipientsAndHits) {
  TransactionRecord record;
  RecipientRecords recipients;
  for (int i = 0; i < 150; ++i) {
    recipients.add(std::to_string(i) + ".some.one.with.a.long.name@subdomain.example.com", 250,
                   {"2.1.5", "Ok, the recipient is known here"}, "");
  }
  record.recipients = recipients.json();
  record.hits.resize(5000, {"r", "s", "a", "m", "", ""});
  const auto document = nlohmann::json::parse(rendered(record), nullptr, false);
  ASSERT_TRUE(document.is_object());
  EXPECT_EQ(document["recipients"].size(), 100u);
  EXPECT_EQ(document["hits"].size(), 100u);
}

}  // namespace
}  // namespace portcullis::metrics
