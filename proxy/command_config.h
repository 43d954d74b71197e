// What every command that reads the configuration does alike.
#pragma once

#include <memory>
#include <string>

#include "proxy/config/config.h"

namespace portcullis {

inline constexpr const char* default_config_path = "/etc/portcullis/portcullis.toml";

// Loads `path` and prints its problems on standard error; throws CLI::RuntimeError(EX_CONFIG) when
// there was an error.
std::shared_ptr<const config::Config> load_or_exit(const std::string& path);

}  // namespace portcullis
