// What is wrong with the certificates that a configuration names, placed at its line and key.
#pragma once

#include <vector>

#include "proxy/config/config.h"

namespace portcullis {

std::vector<config::Problem> certificate_problems(const config::Config& config);

// As config::load, with the problems of the certificates; no configuration when one of them is an error.
config::Loaded load_with_certificates(const std::string& path);

}  // namespace portcullis
