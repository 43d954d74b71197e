// How fast content passes: framing off, framing on.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <string>

#include "smtp/body.h"

namespace {

using namespace portcullis::smtp;

constexpr std::size_t read_octets = 64 * 1024;  // what a worker reads at once
constexpr std::size_t message_octets = 1024 * 1024;

enum Kind : std::int64_t { text, utf8_text, base64, quoted_dots, lf_only };

// Mail-like text: lines of 60 to 80 octets, words, full stops, tabs now and then.
std::string message(Kind kind) {
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
    if (reader.fault() != BodyFault::none) state.SkipWithError("fault");
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
BENCHMARK(data_writer)->Arg(text)->Arg(quoted_dots)->ArgName("kind");

}  // namespace
