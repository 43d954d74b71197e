// The subcommand `portcullis explain`: what the policies of a configuration would say to one message,
// without sending or charging anything.
#pragma once

namespace CLI {
class App;
}

namespace portcullis {

// Registers the subcommand. It runs when `app` parses it, and throws CLI::RuntimeError with the exit
// code when that is not 0.
void add_explain_command(CLI::App& app);

}  // namespace portcullis
