// The program: one subcommand does the work. Exit codes are those of sysexits.h where it has one:
// 0, 64 for a wrong command line, 78 for a wrong configuration.
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "proxy/command_check.h"
#include "proxy/command_explain.h"
#include "proxy/command_passwd.h"
#include "proxy/command_serve.h"
#include "proxy/command_sink.h"

namespace {

void add_commands(CLI::App& app) {
  portcullis::add_serve_command(app);
  portcullis::add_check_command(app);
  portcullis::add_explain_command(app);
  portcullis::add_passwd_command(app);
  portcullis::add_sink_command(app);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    CLI::App app("SMTP gateway in front of a mail server", "portcullis");
    app.set_version_flag("--version", "portcullis " PORTCULLIS_VERSION);
    app.require_subcommand(1);
    add_commands(app);
    try {
      app.parse(argc, argv);
    } catch (const CLI::RuntimeError& ended) {  // a command that ran, with its exit code
      return ended.get_exit_code();
    } catch (const CLI::ParseError& error) {  // --help and --version among them
      return app.exit(error) == 0 ? EX_OK : EX_USAGE;
    }
    return EX_OK;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "portcullis: %s\n", error.what());
    return EX_SOFTWARE;
  }
}
