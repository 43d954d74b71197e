// Runs the sessions of a plan on one epoll loop.
#pragma once

#include "tests/bench/load/client.h"

namespace portcullis::bench {

// Until all sessions have ended. With Options::hold, prints "holding N" once all sessions are open and
// idle, and lets them end when standard input does.
void run(Plan& plan);

}  // namespace portcullis::bench
