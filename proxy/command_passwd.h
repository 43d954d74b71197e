// `portcullis passwd add|set|remove|list|verify`: keeps the user file.
#pragma once

#include <CLI/App.hpp>

namespace portcullis {

// Registers the command. What it does happens while `app` parses; it ends by throwing
// CLI::RuntimeError with the exit code (sysexits.h; 1: `verify` says the password is wrong), or by
// returning when all went well.
void add_passwd_command(CLI::App& app);

}  // namespace portcullis
