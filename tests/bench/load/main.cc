// bench_load: sends mail as fast as it is taken, and tells what that took, as JSON.
#include <arpa/inet.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include "tests/bench/load/load.h"

namespace portcullis::bench {

namespace {

// Lines of text, no dot in the first place.
std::string message_of(std::size_t octets) {
  std::string message =
      "From: <sender@example.net>\r\nTo: <recipient@example.com>\r\n"
      "Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <load@client.example.net>\r\n"
      "Subject: A message of the benchmark\r\nMIME-Version: 1.0\r\n"
      "Content-Type: text/plain; charset=us-ascii\r\n\r\n";
  static constexpr std::string_view line =
      "The quick brown fox jumps over the lazy dog, and over it once more, slowly.\r\n";
  while (message.size() + line.size() <= octets) message += line;
  if (message.size() + 2 < octets) message += std::string(octets - message.size() - 2, 'x') + "\r\n";
  return message;
}

void prepare(Plan& plan) {
  const Options& options = plan.options;
  plan.address.sin_family = AF_INET;
  plan.address.sin_port = htons(options.port);
  if (inet_pton(AF_INET, options.host.c_str(), &plan.address.sin_addr) != 1) {
    throw CLI::ValidationError("--host: an IPv4 address is needed");
  }
  std::string message = message_of(options.message_octets);
  const std::string sender = "sender@example.net";
  message.replace(message.find(sender), sender.size(), options.from);
  plan.body_command = options.bdat ? "BDAT " + std::to_string(message.size()) + " LAST\r\n" : "DATA\r\n";
  plan.envelope = "MAIL FROM:<" + options.from + ">\r\nRCPT TO:<" + options.to + ">\r\n" + plan.body_command;
  plan.content = options.bdat ? message : message + ".\r\n";
}

int keep_ticket(SSL* ssl, SSL_SESSION* session) {
  static_cast<Plan*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0))->ticket.reset(session);
  return 1;  // ours now
}

bssl::UniquePtr<SSL_CTX> tls_context(Plan& plan) {
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  // The peers' certificates are made for the run; what is measured is the handshake.
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  if (plan.options.resume) {
    SSL_CTX_set_ex_data(context.get(), 0, &plan);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context.get(), keep_ticket);
  }
  return context;
}

void describe(CLI::App& app, Options& o) {
  app.add_option("--host", o.host, "IPv4 address")->capture_default_str();
  app.add_option("--port", o.port)->required();
  app.add_option("--security", o.security, "plain, starttls or implicit")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Security>{
          {"plain", Security::plain}, {"starttls", Security::starttls}, {"implicit", Security::implicit}}));
  app.add_flag("--resume", o.resume, "Offer the last TLS ticket");
  app.add_option("--login", o.login, "AUTH PLAIN as");
  app.add_option("--password", o.password);
  app.add_option("--from", o.from)->capture_default_str();
  app.add_option("--to", o.to)->capture_default_str();
  app.add_option("--parallel", o.parallel, "Sessions at a time")->capture_default_str();
  app.add_option("--sessions", o.sessions, "Sessions in all")->capture_default_str();
  app.add_option("--messages", o.messages, "Messages a session")->capture_default_str();
  app.add_option("--size", o.message_octets, "Octets a message")->capture_default_str();
  app.add_flag("--pipeline", o.pipeline, "MAIL, RCPT and DATA (or BDAT and the message) in one write");
  app.add_flag("--bdat", o.bdat, "BDAT LAST instead of DATA");
  app.add_option("--rate", o.sessions_per_second, "Sessions begun a second, at most");
  app.add_flag("--hold", o.hold, "Open all sessions and keep them until standard input ends");
  app.add_option("--patience", o.patience_seconds, "Seconds without progress")->capture_default_str();
}

}  // namespace

int main_of(int argc, char** argv) {
  Plan plan;
  CLI::App app("Load generator for SMTP servers");
  describe(app, plan.options);
  try {
    app.parse(argc, argv);
    prepare(plan);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  (void)std::signal(SIGPIPE, SIG_IGN);
  if (plan.options.hold) plan.options.parallel = plan.options.sessions;
  const bssl::UniquePtr<SSL_CTX> context = tls_context(plan);
  plan.tls = context.get();
  run(plan);
  plan.ticket.reset();
  const bool complete = plan.result.complete();
  (void)std::fputs(to_json(std::move(plan.result)).c_str(), stdout);
  return complete ? 0 : 1;
}

}  // namespace portcullis::bench

int main(int argc, char** argv) {
  try {
    return portcullis::bench::main_of(argc, argv);
  } catch (const std::exception& error) {
    (void)std::fprintf(stderr, "bench_load: %s\n", error.what());
    return 70;
  }
}
