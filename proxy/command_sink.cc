#include "proxy/command_sink.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/sink/sink.h"

namespace portcullis {
namespace {

struct Arguments {
  sink::SinkOptions options;
  std::string listen = "127.0.0.1:2526";
  bool discard = false;
};

// "address:port" or "[address]:port".
bool read_endpoint(std::string_view text, sink::SinkOptions& out) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view port = text.substr(colon + 1);
  std::string_view address = text.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  out.address = address;
  return error == std::errc() && end == port.data() + port.size() && !address.empty();
}

void run(Arguments& arguments) {
  if (!read_endpoint(arguments.listen, arguments.options)) {
    throw CLI::ValidationError("--listen", "not address:port: " + arguments.listen);
  }
  const int code = sink::run_sink(arguments.options);
  if (code != 0) throw CLI::RuntimeError(code);
}

}  // namespace

void add_sink_command(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* const command =
      app.add_subcommand("sink", "Receive mail for demos and tests, into a Maildir or nowhere");
  command->add_option("--listen", arguments->listen, "Address and port; port 0 takes a free one")
      ->capture_default_str();
  CLI::Option_group* const store = command->add_option_group("store", "Where messages go");
  store->add_option("--maildir", arguments->options.maildir,
                    "Maildir to write messages to, made when missing");
  store->add_flag("--discard", arguments->discard, "Read messages and forget them");
  store->require_option(1);
  command->add_flag("--fsync", arguments->options.sync,
                    "Have each message on the disk before it is answered");
  command
      ->add_option("--max-size", arguments->options.max_octets, "Largest message, e.g. 50MiB; 0 for no limit")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_option("--hostname", arguments->options.hostname, "Name in greetings")->capture_default_str();
  command->callback([arguments] { run(*arguments); });
}

}  // namespace portcullis
