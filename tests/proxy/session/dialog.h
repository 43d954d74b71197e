// SMTP conversations as files, readable by a postmaster (tests/dialogs/*.dialog):
//
//   # comment
//   @ auth=required tls=starttls ...   set-up, before anything else
//   C: MAIL FROM:<a@example.com>\r\nRCPT TO:<c@example.com>    the client sends this and CRLF
//   C| octets                          the same without CRLF at the end
//   < ...                              whatever reached the upstream, when that depends on the cut
//   < MAIL FROM:<a@example.com>*       this line must reach the upstream next ('*' matches anything)
//   U: 250 ok                          the upstream sends this and CRLF
//   > 250 *                            this line must reach the client next
//   ! upstream-lost | upstream-silent | upstream-hung | client-lost | tls | auth ok LOGIN | auth bad |
//   ! auth down | timeout | drain | refuse-connect | yield | end-use
//   = aborted | released | finished    must be so now
// At the end nothing may be left unlooked at on either side.
#pragma once

#include <string>
#include <vector>

#include "tests/proxy/session/harness.h"

namespace portcullis::session::testing {

struct Step {
  char kind = 0;  // C | U < > ! = ('|' for C without CRLF)
  std::string text;
  std::size_t line = 0;
};

struct Dialog {
  std::string name;
  Setup setup;
  std::vector<Step> steps;
};

Dialog read_dialog(const std::string& path);
std::vector<std::string> dialog_paths();

}  // namespace portcullis::session::testing
