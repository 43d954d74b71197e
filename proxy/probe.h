// Whether what a configuration names answers: backends and upstreams, asked once. Blocks up to their
// timeouts.
#pragma once

#include <string>
#include <vector>

#include "proxy/config/config.h"

namespace portcullis {

struct ProbeLine {
  bool ok = false;
  std::string text;  // "backend ldap: …", "upstream legacy 10.0.0.5:25: …"
};

std::vector<ProbeLine> probe(const config::Config& config);

}  // namespace portcullis
