#include "metrics/levels.h"

namespace portcullis::metrics {

void Levels::unset_all(Metric metric) {
  const Row& row = row_of(metric);
  assert(row.in_levels());
  if (!row.in_levels()) return;
  std::size_t series = row.series_per_value();
  if (row.configured()) series *= layout_.names(row.dims[0]).size();
  for (std::size_t i = 0; i < series; ++i)
    cells_[layout_.base(metric) + i].store(absent, std::memory_order_relaxed);
}

}  // namespace portcullis::metrics
