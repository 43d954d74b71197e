#include "policy/verdict.h"

namespace portcullis::policy {

std::string_view name_of(Stage stage) {
  switch (stage) {
    case Stage::connect:
      return "connect";
    case Stage::mail:
      return "mail";
    case Stage::rcpt:
      return "rcpt";
    case Stage::header:
      return "header";
    case Stage::message:
      return "message";
    case Stage::command:
      return "command";
  }
  return "other";
}

std::string_view name_of(Action action) {
  switch (action) {
    case Action::accept:
      return "accept";
    case Action::defer:
      return "defer";
    case Action::reject:
      return "reject";
  }
  return "other";
}

std::string_view name_of(Mode mode) {
  switch (mode) {
    case Mode::enforce:
      return "enforce";
    case Mode::shadow:
      return "shadow";
    case Mode::off:
      return "off";
  }
  return "other";
}

std::string_view name_of(SpoofCheck check) {
  switch (check) {
    case SpoofCheck::none:
      return "none";
    case SpoofCheck::envelope:
      return "envelope";
    case SpoofCheck::header_from:
      return "header_from";
    case SpoofCheck::sender:
      return "sender";
    case SpoofCheck::domain:
      return "domain";
    case SpoofCheck::unauth_local:
      return "unauth_local";
  }
  return "other";
}

}  // namespace portcullis::policy
