// How fast content passes: framing off, framing on, MIME counted, header read.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>

#include "smtp/body.h"
#include "smtp/header.h"
#include "smtp/mime.h"

namespace {

using namespace portcullis::smtp;

constexpr std::size_t read_octets = 64 * 1024;  // what a worker reads at once
constexpr std::size_t message_octets = 1024 * 1024;

enum Kind : std::int64_t { text, utf8_text, base64, quoted_dots, lf_only, dot_lines, dash_lines, bare_cr };

// What a hostile sender fills a message with: each line as short as can be.
std::string hostile(Kind kind) {
  const std::string_view line = kind == dot_lines ? "..\r\n" : kind == dash_lines ? "--\r\n" : "\r";
  std::string out;
  while (out.size() < message_octets) out += line;
  return out;
}

// Mail-like text: lines of 60 to 80 octets, words, full stops, tabs now and then.
std::string message(Kind kind) {
  if (kind >= dot_lines) return hostile(kind);
  std::mt19937 random(1);
  const std::string_view line_end = kind == lf_only ? "\n" : "\r\n";
  std::string out;
  while (out.size() < message_octets) {
    const std::size_t length = kind == base64 ? 76 : 60 + random() % 21;
    if (kind == quoted_dots && random() % 10 == 0) out += '.';
    for (std::size_t i = 0; i < length; ++i) {
      if (kind == base64) {
        out += "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[random() % 64];
      } else if (kind == utf8_text && random() % 12 == 0) {
        out += "\xc3\xa4";
      } else {
        out += "etaoin srhldcu etaoin srhldcu.,x\t"[random() % 33];
      }
    }
    out += line_end;
  }
  return out;
}

void data_reader(benchmark::State& state) {
  const auto kind = static_cast<Kind>(state.range(0));
  const std::string bytes = message(kind);
  Slices slices;
  std::size_t views = 0;
  for (auto _ : state) {
    DataReader reader(kind == lf_only ? BareLf::normalize : BareLf::refuse);
    for (std::size_t at = 0; at < bytes.size(); at += read_octets) {
      slices.clear();
      reader.feed(std::string_view(bytes).substr(at, read_octets), slices);
      benchmark::DoNotOptimize(slices.data());
      views += slices.size();
    }
    if (reader.fault() != BodyFault::none && kind != bare_cr) state.SkipWithError("fault");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
  state.counters["views"] =
      benchmark::Counter(static_cast<double>(views), benchmark::Counter::kAvgIterations);
}
BENCHMARK(data_reader)
    ->Arg(text)
    ->Arg(utf8_text)
    ->Arg(base64)
    ->Arg(quoted_dots)
    ->Arg(lf_only)
    ->Arg(dot_lines)
    ->Arg(bare_cr)
    ->ArgName("kind");

void content_scanner(benchmark::State& state) {
  const auto kind = static_cast<Kind>(state.range(0));
  const std::string bytes = message(kind);
  Slices slices;
  for (auto _ : state) {
    ContentScanner scanner(kind == lf_only ? BareLf::normalize : BareLf::refuse);
    for (std::size_t at = 0; at < bytes.size(); at += read_octets) {
      slices.clear();
      scanner.feed(std::string_view(bytes).substr(at, read_octets), slices);
      benchmark::DoNotOptimize(slices.data());
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK(content_scanner)->Arg(text)->Arg(lf_only)->ArgName("kind");

void data_writer(benchmark::State& state) {
  const std::string bytes = message(static_cast<Kind>(state.range(0)));
  Slices slices;
  for (auto _ : state) {
    DataWriter writer;
    for (std::size_t at = 0; at < bytes.size(); at += read_octets) {
      slices.clear();
      writer.feed(std::string_view(bytes).substr(at, read_octets), slices);
      benchmark::DoNotOptimize(slices.data());
    }
    benchmark::DoNotOptimize(writer.finish());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK(data_writer)->Arg(text)->Arg(quoted_dots)->Arg(dot_lines)->ArgName("kind");

// A large attachment, or a text full of lists.
void mime_scanner(benchmark::State& state) {
  const auto kind = static_cast<Kind>(state.range(0));
  std::string bytes = "--=_next\r\nContent-Type: application/pdf; name=x.pdf\r\n\r\n" + message(kind);
  if (kind == quoted_dots) std::ranges::replace(bytes, '.', '-');
  for (auto _ : state) {
    MimeScanner scanner;
    scanner.begin("multipart/mixed; boundary=\"=_next\"", "", "");
    for (std::size_t at = 0; at < bytes.size(); at += read_octets) {
      scanner.feed(std::string_view(bytes).substr(at, read_octets));
    }
    benchmark::DoNotOptimize(scanner.finish());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK(mime_scanner)->Arg(text)->Arg(base64)->Arg(quoted_dots)->Arg(dash_lines)->ArgName("kind");

// What a message costs besides its size.
void header(benchmark::State& state) {
  std::string block =
      "Received: from mail.example.org (mail.example.org [192.0.2.7])\r\n\tby mx.example.com with ESMTPS id "
      "1234\r\n"
      "\tfor <jane@example.com>; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
      "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=2026; h=from:to:subject:date:message-id;\r\n"
      "\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=" +
      std::string(344, 'A') +
      "\r\n"
      "From: =?utf-8?Q?J=C3=B6rg_M=C3=BCller?= <joerg@example.org>\r\n"
      "To: \"Doe, Jane\" <jane@example.com>, john@example.com\r\n"
      "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe_aus_M=C3=BCnchen?=\r\n"
      "Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1234567890@example.org>\r\nMIME-Version: 1.0\r\n"
      "Content-Type: multipart/mixed; boundary=\"=_next\"\r\n\r\n";
  for (auto _ : state) {
    HeaderCollector collector(256 * 1024);
    collector.feed(block);
    const HeaderReport facts = parse_header(collector.block(), {});
    if (!facts.findings.empty()) state.SkipWithError("refused");
    benchmark::DoNotOptimize(facts);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(block.size()));
}
BENCHMARK(header);

}  // namespace
