#include "proxy/certificates.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "proxy/auth/certificate_check.h"

namespace portcullis {

std::vector<config::Problem> certificate_problems(const config::Config& config) {
  using Severity = config::Problem::Severity;
  const auto now = std::chrono::system_clock::now();
  std::vector<config::Problem> problems;
  for (const config::PemFile& each : config.pem_files) {
    const auto findings = each.kind == config::PemFile::Kind::certificate
                              ? auth::check_certificate(each.file, each.private_key, now)
                              : auth::check_authorities(each.file, now);
    for (const auto& finding : findings) {
      problems.push_back({finding.error ? Severity::error : Severity::warning, config.path, each.line,
                          each.column, "", finding.text + " (" + each.key + ')'});
    }
  }
  return problems;
}

config::Loaded load_with_certificates(const std::string& path) {
  config::Loaded loaded = config::load(path);
  if (!loaded.config) return loaded;
  const auto problems = certificate_problems(*loaded.config);
  loaded.problems.insert(loaded.problems.end(), problems.begin(), problems.end());
  if (std::ranges::any_of(problems, [](const config::Problem& problem) {
        return problem.severity == config::Problem::Severity::error;
      })) {
    loaded.config.reset();
  }
  return loaded;
}

}  // namespace portcullis
