// What a scrape gets: the sums over all shards and the levels, in the Prometheus text format.
// Rendering takes milliseconds for a large configuration: serve it from a loop that carries no mail.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/layout.h"
#include "metrics/levels.h"
#include "metrics/shard.h"

namespace portcullis::metrics {

class Exporter {
 public:
  // Both outlive the exporter.
  Exporter(const Layout& layout, Levels& levels);

  // Shards outlive the exporter. May be called while others scrape.
  void attach(const Cells& shard);
  // Called before each scrape, on its thread: for levels and totals whose truth is elsewhere, as
  //   exporter.on_scrape([&] { levels.set<Metric::log_records_dropped>(Sink::file, journal.dropped()); });
  void on_scrape(std::function<void()> collect);

  static constexpr std::string_view content_type = "text/plain; version=0.0.4; charset=utf-8";
  std::string text();

 private:
  const Layout& layout_;
  Levels& levels_;
  std::mutex mutex_;
  std::vector<const Cells*> shards_;
  std::vector<std::function<void()>> collectors_;
};

}  // namespace portcullis::metrics
