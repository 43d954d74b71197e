// Records with every field, and a directory for a journal's file.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "metrics/journal.h"

namespace portcullis::metrics {

namespace fs = std::filesystem;
using std::chrono::sys_days;

inline PeerRecord full_peer() {
  return {.client = "192.0.2.7",
          .client_port = 40404,
          .via = "192.0.2.1",
          .listener = "submission",
          .helo = "laptop",
          .tls_version = "TLSv1.3",
          .tls_cipher = "TLS_AES_128_GCM_SHA256",
          .tls_client_subject = "CN=alice",
          .login = "alice@example.com",
          .mechanism = "PLAIN",
          .backend = "ldap"};
}

inline std::string_view two_recipients() {
  static const RecipientRecords records = [] {
    RecipientRecords two;
    two.add("bob@example.com", 250, {"2.1.5", "ok"}, "");
    two.add("eve@example.com", 550, {"5.7.1", "no"}, "lists");
    return two;
  }();
  return records.json();
}

inline TransactionRecord full_transaction() {
  TransactionRecord record;
  record.time = sys_days{std::chrono::year(2026) / 11 / 21} + std::chrono::milliseconds(63903250);
  record.id = "01JD.1";
  record.peer = full_peer();
  record.forwarded_client = "203.0.113.9";
  record.forwarded_helo = "desk";
  record.forwarded_id = "4F2A";
  record.result = "rejected";
  record.reverse_path = "alice@example.com";
  record.recipients = two_recipients();
  record.recipients_total = 2;
  record.recipients_accepted = 1;
  record.header_from = "alice@example.com";
  record.message_id = "<1@example.com>";
  record.subject = "hello";
  record.octets = 1234;
  record.attachments = 1;
  record.parts = 3;
  record.hits = {{"lists", "rcpt", "reject", "enforce", "", ""},
                 {"identity", "mail", "reject", "enforce", "envelope", "boss@example.com"}};
  record.rule = "identity";
  record.code = 550;
  record.reply = {"5.7.1", "not yours"};
  record.upstream = "legacy/10.0.0.5:25";
  record.upstream_code = 250;
  record.upstream_reply = "2.0.0 queued as 4XyZ";
  record.queue_id = "4XyZ";
  record.duration_seconds = 1.25;
  record.upstream_reply_seconds = 0.0625;
  record.removed_fields = 1;
  return record;
}

inline std::string_view two_refusals() {
  static const RefusalRecords records = [] {
    RefusalRecords two;
    two.add("AUTH", 535, {"5.7.8", "no"});
    two.add("MAIL", 530, {"5.7.0", "log in"});
    return two;
  }();
  return records.json();
}

inline SessionRecord full_session() {
  SessionRecord record;
  record.id = "01JD";
  record.peer = full_peer();
  record.reason = "quit";
  record.detail = "as it should be";
  record.transactions = 2;
  record.refusals = two_refusals();
  record.refusals_total = 2;
  return record;
}

inline EventRecord full_event() {
  EventRecord record;
  record.level = EventRecord::Level::warning;
  record.event = "upstream_down";
  record.session = "01JD";
  record.fields = {{"upstream", "legacy"}, {"server", "10.0.0.5:25"}};
  record.message = "Server 10.0.0.5:25 does not answer.";
  return record;
}

template <typename Record>
std::string rendered(const Record& record) {
  TextBuffer out;
  append_json(out, record);
  return std::string(out.view());
}

class JournalFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "journal-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  JournalSettings settings() const {
    JournalSettings settings;
    settings.sink = JournalSettings::Sink::file;
    settings.path = directory_ / "journal.log";
    return settings;
  }
  static std::vector<std::string> lines_of(const fs::path& path) {
    std::ifstream file(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }
  fs::path directory_;
};

}  // namespace portcullis::metrics
