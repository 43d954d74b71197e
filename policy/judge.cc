#include "policy/judge.h"

namespace portcullis::policy {

bool Judge::fire(const RuleRef& rule, const Finding& finding) {
  if (rule.mode == Mode::off || decided()) return decided();
  const Action action = finding.code < 500 ? Action::defer : Action::reject;
  verdict_.hits.push_back({rule.number, stage_, action, rule.mode, finding.spoof});
  if (rule.mode == Mode::shadow) return false;
  verdict_.action = action;
  verdict_.rule = rule.number;
  verdict_.reply = {finding.code, std::string(finding.enhanced), std::string(finding.text)};
  return true;
}

}  // namespace portcullis::policy
