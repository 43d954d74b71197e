// The subcommand `portcullis check`: says everything that is wrong with a configuration, and with
// --probe whether what it names can be reached; prints the reference of all keys.
#pragma once

namespace CLI {
class App;
}

namespace portcullis {

// Registers the subcommand. It runs when `app` parses it, and throws CLI::RuntimeError with the exit
// code when that is not 0: EX_CONFIG for errors, EX_UNAVAILABLE when a probe failed.
void add_check_command(CLI::App& app);

}  // namespace portcullis
