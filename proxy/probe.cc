#include "proxy/probe.h"

#include <memory>
#include <string_view>

#include "policy/lockout.h"
#include "proxy/auth/service.h"
#include "proxy/auth/workers.h"
#include "proxy/net/probe.h"

namespace portcullis {
namespace {

std::string_view name_of(auth::BackendKind backend) {
  switch (backend) {
    case auth::BackendKind::file:
      return "file";
    case auth::BackendKind::ldap:
      return "ldap";
    case auth::BackendKind::imap:
      return "imap";
  }
  return "unknown";
}

void probe_backends(const config::Config& config, std::vector<ProbeLine>& lines) {
  if (config.auth.backends.empty()) return;
  // Nobody is asked here about a login, so no threads are needed.
  auth::Service service(config.auth, std::make_shared<policy::Lockout>(config.auth.lockout), {},
                        std::make_shared<auth::Workers>());
  for (const auto& line : service.probe()) {
    lines.push_back({line.ok, "backend " + std::string(name_of(line.backend)) + ": " + line.text});
  }
}

}  // namespace

std::vector<ProbeLine> probe(const config::Config& config) {
  std::vector<ProbeLine> lines;
  probe_backends(config, lines);
  for (auto& line : net::probe_upstreams(config)) lines.push_back({line.ok, std::move(line.text)});
  return lines;
}

}  // namespace portcullis
