// The program: one subcommand a job.
#include <CLI/CLI.hpp>

#include "proxy/command_passwd.h"
#include "proxy/command_serve.h"
#include "proxy/command_sink.h"

int main(int argc, char** argv) {
  CLI::App app("Portcullis: a transparent SMTP gateway in front of a legacy mail server", "portcullis");
  app.require_subcommand(1);
  portcullis::add_serve_command(app);
  portcullis::add_passwd_command(app);
  portcullis::add_sink_command(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  return 0;
}
