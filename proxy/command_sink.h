// The subcommand `portcullis sink`: the built-in receiving server (proxy/sink).
#pragma once

namespace CLI {
class App;
}

namespace portcullis {

// Registers the subcommand. It runs when `app` parses it, and throws CLI::RuntimeError with the exit
// code when that is not 0.
void add_sink_command(CLI::App& app);

}  // namespace portcullis
