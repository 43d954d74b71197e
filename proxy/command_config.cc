#include "proxy/command_config.h"

#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <cstdio>

namespace portcullis {

std::shared_ptr<const config::Config> load_or_exit(const std::string& path) {
  const config::Loaded loaded = config::load(path);
  for (const config::Problem& problem : loaded.problems) {
    std::fprintf(stderr, "%s\n", config::to_string(problem).c_str());
  }
  if (!loaded.config) throw CLI::RuntimeError(EX_CONFIG);
  return loaded.config;
}

}  // namespace portcullis
