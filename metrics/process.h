// The process as the kernel sees it (Linux, /proc/self), under the names every Prometheus client
// library uses.
#pragma once

#include "metrics/levels.h"

namespace portcullis::metrics {

// Sets process_*; what can not be read stays as it was.
void read_process(Levels& levels);

}  // namespace portcullis::metrics
