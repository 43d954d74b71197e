// What no row can see alone: names that refer to nothing, settings that contradict each other, files
// that are missing or open to everybody, and configurations that would make an open relay.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/config/reader.h"
#include "proxy/config/value.h"

namespace portcullis::config {

// Where checks look and report. Problems are placed by the path of their key.
struct Check {
  Reader& reader;
  const Value& document;
  const Config& config;
  bool world_readable = false;  // the file itself

  bool given(std::string_view path) const;  // whether the file has this very key
  void error(const std::string& path, std::string text) const;
  void warning(const std::string& path, std::string text) const;
};

// "listener[2]" for index 1.
std::string indexed(std::string_view key, std::size_t index);
bool is_loopback(const policy::IpAddress& address);
bool is_loopback_host(std::string_view host);  // an address, or "localhost"

void check_names(const Check& check);
void check_listeners(const Check& check);
void check_upstreams(const Check& check);
void check_auth(const Check& check);
void check_relay(const Check& check);
void check_rules(const Check& check);
void check_files(const Check& check);
std::vector<PemFile> pem_files(const Check& check);

}  // namespace portcullis::config
