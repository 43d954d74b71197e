#include "proxy/config/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <tuple>
#include <utility>

namespace portcullis::config {

namespace {

// More problems than this help nobody, and a hostile file could otherwise make millions.
constexpr std::size_t problems_max = 200;

// Edit distance with transpositions of neighbours (optimal string alignment).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), previous(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, previous);
    std::swap(previous, row);
  }
  return previous[b.size()];
}

}  // namespace

Reader::Reader(std::string file) : file_(std::move(file)) {}

void Reader::error(Position at, std::string_view key, std::string text) {
  ++errors_;
  if (problems_.size() >= problems_max) return;
  problems_.push_back(
      {Problem::Severity::error, file_, at.line, at.column, std::string(key), std::move(text)});
}

void Reader::warning(Position at, std::string_view key, std::string text) {
  if (problems_.size() >= problems_max) return;
  problems_.push_back(
      {Problem::Severity::warning, file_, at.line, at.column, std::string(key), std::move(text)});
}

void Reader::expected(const Value& value, std::string_view key, std::string_view what) {
  error(value.at, key, fmt::format("expected {}, got {}", what, name_of(value.kind)));
}

std::string Reader::absolute(std::string_view path) const {
  if (path.empty() || path.front() == '/') return std::string(path);
  return (std::filesystem::path(file_).parent_path() / path).lexically_normal().string();
}

std::vector<Problem> Reader::take_problems() {
  std::stable_sort(problems_.begin(), problems_.end(), [](const Problem& a, const Problem& b) {
    return std::tie(a.line, a.column) < std::tie(b.line, b.column);
  });
  return std::move(problems_);
}

std::string_view closest(std::string_view word, const std::vector<std::string_view>& candidates) {
  if (word.size() > 64) return {};
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    if (const std::size_t d = distance(word, candidate); d < best_distance) {
      best = candidate;
      best_distance = d;
    }
  }
  return best;
}

}  // namespace portcullis::config
