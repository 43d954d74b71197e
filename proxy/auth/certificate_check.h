// What is wrong with the PEM files that a configuration names, in an admin's words: for `portcullis check`,
// the start and each reload.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace portcullis::auth {

struct CertificateFinding {
  bool error = false;  // else a warning: it works, but not with everybody or not for long
  std::string text;    // begins with the file
};

// A certificate chain, leaf first, and the private key of the leaf.
std::vector<CertificateFinding> check_certificate(const std::string& chain_file, const std::string& key_file,
                                                  std::chrono::system_clock::time_point now);
// Certificates of trusted authorities.
std::vector<CertificateFinding> check_authorities(const std::string& file,
                                                  std::chrono::system_clock::time_point now);

}  // namespace portcullis::auth
