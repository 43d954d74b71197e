#include "metrics/exporter.h"

#include <prometheus/text_serializer.h>

#include <bit>
#include <limits>
#include <sstream>
#include <utility>

#include "metrics/process.h"

namespace portcullis::metrics {
namespace {

using Labels = std::vector<prometheus::ClientMetric::Label>;
using Shards = std::vector<const Cells*>;

prometheus::MetricType exposed(Type type) {
  switch (type) {
    case Type::counter:
    case Type::total:
      return prometheus::MetricType::Counter;
    case Type::gauge:
    case Type::level:
      return prometheus::MetricType::Gauge;
    case Type::histogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

std::uint64_t sum(const Shards& shards, std::size_t cell) {
  std::uint64_t total = 0;
  for (const Cells* shard : shards) total += shard->read(cell);
  return total;
}

// The labels of one value of a dimension: two for those that stand for a pair.
std::vector<Labels> values_now(const Layout& layout, Dim dim) {
  const std::string name(label_name(dim));
  std::vector<Labels> values;
  for (const std::string_view value : values_of(dim)) values.push_back({{name, std::string(value)}});
  if (!is_configured(dim)) return values;
  for (const auto& value : layout.names(dim)) {
    Labels& labels = values.emplace_back();
    if (dim == Dim::server) labels.push_back({"upstream", value.front()});
    if (dim == Dim::build) labels.push_back({"version", value.front()});
    labels.push_back({name, value.back()});
  }
  return values;
}

// Every combination, the last label varying fastest, as the cells are laid out.
std::vector<Labels> label_sets(const Layout& layout, const Row& row) {
  std::vector<Labels> sets(1);
  for (std::size_t i = 0; i < row.dim_count(); ++i) {
    const std::vector<Labels> values = values_now(layout, row.dims[i]);
    std::vector<Labels> longer;
    for (const Labels& set : sets)
      for (const Labels& labels : values) {
        longer.push_back(set);
        longer.back().insert(longer.back().end(), labels.begin(), labels.end());
      }
    sets = std::move(longer);
  }
  return sets;
}

void fill_histogram(prometheus::ClientMetric& metric, const Row& row, const Shards& shards,
                    std::size_t cell) {
  auto& histogram = metric.histogram;
  const auto bounds = bounds_of(row.buckets);
  for (std::size_t i = 0; i <= bounds.size(); ++i) {
    // The count is that of the last bucket, and so never contradicts it.
    histogram.sample_count += sum(shards, cell + i);
    histogram.bucket.push_back(
        {.cumulative_count = histogram.sample_count,
         .upper_bound = i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity()});
  }
  for (const Cells* shard : shards)
    histogram.sample_sum += std::bit_cast<double>(shard->read(cell + bounds.size() + 1));
}

// False: the series is not shown.
bool fill(prometheus::ClientMetric& metric, const Row& row, const Layout& layout, const Levels& levels,
          const Shards& shards, std::size_t cell) {
  switch (row.type) {
    case Type::histogram:
      fill_histogram(metric, row, shards, cell);
      return true;
    case Type::gauge:
      // A gauge may be negative for a moment: taken down in a shard that was read before the up.
      metric.gauge.value = static_cast<double>(static_cast<std::int64_t>(sum(shards, cell)));
      return true;
    case Type::counter: {
      const std::uint64_t count = sum(shards, cell);
      metric.counter.value = static_cast<double>(count);
      return count != 0 || !row.sparse() || layout.announced(static_cast<std::uint32_t>(cell));
    }
    case Type::level:
    case Type::total: {
      const auto value = levels.read(cell);
      metric.gauge.value = metric.counter.value = value.value_or(0);
      return value.has_value();
    }
  }
  return false;
}

}  // namespace

Exporter::Exporter(const Layout& layout, Levels& levels) : layout_(layout), levels_(levels) {
  levels_.set<Metric::build_info>(0, 1);
}

void Exporter::attach(const Cells& shard) {
  const std::scoped_lock lock(mutex_);
  shards_.push_back(&shard);
}

void Exporter::on_scrape(std::function<void()> collect) {
  const std::scoped_lock lock(mutex_);
  collectors_.push_back(std::move(collect));
}

std::string Exporter::text() {
  const std::scoped_lock lock(mutex_);
  read_process(levels_);
  for (const auto& collect : collectors_) collect();

  std::vector<prometheus::MetricFamily> families;
  for (std::size_t i = 0; i < metric_count; ++i) {
    const Row& row = catalogue[i];
    prometheus::MetricFamily family{.name = std::string(row.name),
                                    .help = std::string(row.help),
                                    .type = exposed(row.type),
                                    .metric = {}};
    std::size_t cell = layout_.base(static_cast<Metric>(i));
    for (Labels& labels : label_sets(layout_, row)) {
      prometheus::ClientMetric metric;
      if (fill(metric, row, layout_, levels_, shards_, cell)) {
        metric.label = std::move(labels);
        family.metric.push_back(std::move(metric));
      }
      cell += row.cells_per_series();
    }
    if (!family.metric.empty()) families.push_back(std::move(family));
  }
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return std::move(out).str();
}

}  // namespace portcullis::metrics
