// docs/metrics.md against the catalogue: every metric, its type and its labels, and nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "metrics/metrics.h"

namespace portcullis::metrics {
namespace {

std::string exposed_type(Type type) {
  switch (type) {
    case Type::counter:
    case Type::total:
      return "counter";
    case Type::gauge:
    case Type::level:
      return "gauge";
    case Type::histogram:
      return "histogram";
  }
  return "";
}

// "`listener`, `reason`"
std::string labels_cell(const Row& row) {
  std::string cell;
  const auto add = [&](std::string_view name) {
    if (!cell.empty()) cell += ", ";
    cell += "`" + std::string(name) + "`";
  };
  for (std::size_t i = 0; i < row.dim_count(); ++i) {
    if (row.dims[i] == Dim::server) add("upstream");
    if (row.dims[i] == Dim::build) add("version");
    add(label_name(row.dims[i]));
  }
  return cell;
}

std::vector<std::string> lines_of(const std::string& name) {
  std::ifstream file(PORTCULLIS_SOURCE_DIR "/" + name);
  EXPECT_TRUE(file) << name;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  for (std::size_t at = 2; at < line.size();) {
    const std::size_t end = std::min(line.find(" |", at), line.size());
    cells.push_back(line.substr(at, end - at));
    at = end + 3;
  }
  return cells;
}

TEST(MetricsDocs, HaveARowForEachMetric) {
  std::map<std::string, std::pair<std::string, std::string>> documented, expected;
  for (const std::string& line : lines_of("docs/metrics.md")) {
    if (!line.starts_with("| `portcullis_") && !line.starts_with("| `process_")) continue;
    const auto cells = cells_of(line);
    ASSERT_EQ(cells.size(), 4u) << line;
    EXPECT_FALSE(cells[3].empty()) << line;
    EXPECT_TRUE(documented.emplace(cells[0], std::pair(cells[1], cells[2])).second) << "twice: " << line;
  }
  for (const Row& row : catalogue)
    expected["`" + std::string(row.name) + "`"] = {exposed_type(row.type), labels_cell(row)};
  for (const auto& [name, cells] : expected)
    EXPECT_EQ(documented[name], cells) << "docs/metrics.md should have: | " << name << " | " << cells.first
                                       << " | " << cells.second << " | ... |";
  for (const auto& [name, cells] : documented)
    EXPECT_TRUE(expected.contains(name)) << name << " does not exist";
}

// "| `reason` | `portcullis_sessions_closed_total` | `quit` `client_lost` … |" for each fixed list.
TEST(MetricsDocs, ListEveryLabelValue) {
  const auto lines = lines_of("docs/metrics.md");
  const std::set<std::string> seen;
  for (const Row& row : catalogue) {
    for (std::size_t i = 0; i < row.dim_count(); ++i) {
      if (is_configured(row.dims[i])) continue;
      std::string values;
      for (const std::string_view value : values_of(row.dims[i])) values += " `" + std::string(value) + "`";
      const std::string label = "| `" + std::string(label_name(row.dims[i])) + "` | ";
      const bool found = std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
        return line.starts_with(label) && line.ends_with(" |" + values + " |") &&
               line.find("`" + std::string(row.name) + "`") != std::string::npos;
      });
      EXPECT_TRUE(found) << "docs/metrics.md should have: " << label << "`" << row.name << "` |" << values
                         << " |";
    }
  }
}

// The rules of names (https://prometheus.io/docs/practices/naming/); promtool checks more.
TEST(Catalogue, NamesKeepTheRules) {
  std::set<std::string_view> names;
  for (const Row& row : catalogue) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(row.name.starts_with("portcullis_") || row.name.starts_with("process_")) << row.name;
    EXPECT_EQ(row.name.ends_with("_total"), exposed_type(row.type) == "counter") << row.name;
    EXPECT_FALSE(row.help.empty()) << row.name;
    EXPECT_TRUE(row.help.ends_with('.')) << row.name;
    EXPECT_EQ(row.help.find_first_of("\n\\"), std::string_view::npos) << row.name;
    const auto bounds = bounds_of(row.buckets);
    EXPECT_TRUE(std::is_sorted(bounds.begin(), bounds.end())) << row.name;
  }
}

// Alerts that ask for metrics which do not exist would never fire.
TEST(Alerts, AskForMetricsThatExist) {
  std::set<std::string> names;
  for (const Row& row : catalogue) {
    names.emplace(row.name);
    if (row.type != Type::histogram) continue;
    for (const char* suffix : {"_bucket", "_count", "_sum"}) names.insert(std::string(row.name) + suffix);
  }
  std::size_t found = 0;
  for (const std::string& line : lines_of("etc/prometheus/alerts.yml")) {
    for (std::size_t at = 0; (at = line.find("portcullis_", at)) != std::string::npos; ++found) {
      const std::size_t end =
          std::min(line.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at), line.size());
      EXPECT_TRUE(names.contains(line.substr(at, end - at))) << line;
      at = end;
    }
  }
  EXPECT_GT(found, 10u);
}

}  // namespace
}  // namespace portcullis::metrics
