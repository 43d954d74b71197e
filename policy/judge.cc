#include "policy/judge.h"

#include <utility>

namespace portcullis::policy {

bool Judge::fire(const RuleRef& rule, const Finding& finding) {
  if (rule.mode == Mode::off || decided()) return decided();
  const Action action = finding.code < 500 ? Action::defer : Action::reject;
  std::string identity = finding.identity != nullptr ? smtp::to_string(*finding.identity) : std::string();
  verdict_.hits.push_back({rule.number, stage_, action, rule.mode, finding.spoof, std::move(identity)});
  if (rule.mode == Mode::shadow) return false;
  verdict_.action = action;
  verdict_.rule = rule.number;
  verdict_.reply = {finding.code, std::string(finding.enhanced), std::string(finding.text)};
  return true;
}

}  // namespace portcullis::policy
