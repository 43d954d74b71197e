// What a journal line costs the thread that writes it.
#include <benchmark/benchmark.h>

#include "metrics/journal.h"

namespace {

using namespace portcullis::metrics;

// A typical accepted message: one client, two recipients, no rule fired.
TransactionRecord typical() {
  static const RecipientRecords recipients = [] {
    RecipientRecords two;
    two.add("bob@example.org", 250, {"2.1.5", "Ok"}, "");
    two.add("carol@example.net", 250, {"2.1.5", "Ok"}, "");
    return two;
  }();
  TransactionRecord record;
  record.time = std::chrono::system_clock::now();
  record.id = "01JD8K3V9Q2M.1";
  record.peer = {.client = "192.0.2.7",
                 .client_port = 40404,
                 .via = "",
                 .listener = "submission",
                 .helo = "laptop.example.com",
                 .tls_version = "TLSv1.3",
                 .tls_cipher = "TLS_AES_128_GCM_SHA256",
                 .tls_client_subject = "",
                 .login = "alice@example.com",
                 .mechanism = "PLAIN",
                 .backend = "ldap"};
  record.result = "accepted";
  record.reverse_path = "alice@example.com";
  record.recipients = recipients.json();
  record.recipients_total = record.recipients_accepted = 2;
  record.header_from = "alice@example.com";
  record.message_id = "<5f2c1d7e-6a0b-4c8e-9d51-0b6f3e2a7c44@example.com>";
  record.octets = 48213;
  record.attachments = 1;
  record.parts = 3;
  record.code = 250;
  record.reply = {"2.0.0", "Ok: queued as 4XyZ1q2W3eR"};
  record.upstream = "legacy/10.0.0.5:25";
  record.upstream_code = 250;
  record.upstream_reply = record.reply.text;
  record.queue_id = "4XyZ1q2W3eR";
  record.duration_seconds = 0.184213;
  record.upstream_reply_seconds = 0.031;
  return record;
}

void render_transaction(benchmark::State& state) {
  const TransactionRecord record = typical();
  TextBuffer out;
  for (auto _ : state) {
    out.clear();
    append_json(out, record);
    benchmark::DoNotOptimize(out.view().data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(out.size()));
}
BENCHMARK(render_transaction);

// With the queue and the writer; the file is /dev/null, so that the disk is not measured.
void write_transaction(benchmark::State& state) {
  static Journal journal([] {
    JournalSettings settings;
    settings.sink = JournalSettings::Sink::file;
    settings.path = "/dev/null";
    settings.queue_octets_max = 64 * 1024 * 1024;
    return settings;
  }());
  const TransactionRecord record = typical();
  for (auto _ : state) journal.write(record);
  state.counters["dropped"] = static_cast<double>(journal.dropped());
}
BENCHMARK(write_transaction)->Threads(1)->Threads(2);

}  // namespace
