// Collects what fires in one stage into a Verdict: every hit is recorded, the first one in `enforce`
// decides. Nothing is allocated while nothing fires.
//
//   Judge judge(Stage::mail);
//   if (too_big && judge.fire(rule, Finding{...})) return judge.take();
#pragma once

#include <string_view>

#include "policy/verdict.h"
#include "smtp/path.h"

namespace portcullis::policy {

struct RuleRef {
  std::uint16_t number = 0;  // index into Chain::rule_names()
  Mode mode = Mode::enforce;
};

// What a rule found; the text is one short sentence for the user, without rule name and id.
struct Finding {
  std::uint16_t code = 550;
  std::string_view enhanced;
  std::string_view text;
  SpoofCheck spoof = SpoofCheck::none;
  const smtp::Mailbox* identity = nullptr;  // that failed the check, for the journal
};

class Judge {
 public:
  explicit Judge(Stage stage) : stage_(stage) {}

  // Returns decided().
  bool fire(const RuleRef& rule, const Finding& finding);
  bool decided() const { return verdict_.action != Action::accept; }
  Verdict take() { return std::move(verdict_); }

 private:
  Stage stage_;
  Verdict verdict_;
};

}  // namespace portcullis::policy
