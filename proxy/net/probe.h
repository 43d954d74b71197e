// One look at every upstream server, for `portcullis check --probe`: blocks until each has answered or
// run into its timeout.
#pragma once

#include <string>
#include <vector>

#include "proxy/config/config.h"

namespace portcullis::net {

struct UpstreamProbeLine {
  bool ok = false;
  std::string text;  // "upstream legacy 10.0.0.5:25: ready, TLS, offers PIPELINING SIZE …"
};

std::vector<UpstreamProbeLine> probe_upstreams(const config::Config& config);

}  // namespace portcullis::net
