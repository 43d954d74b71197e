// A session in memory, with a real upstream link behind it and a scripted server behind that: what the
// driver of proxy/net does with sockets, done with strings.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/journal.h"
#include "metrics/shard.h"
#include "policy/chain.h"
#include "policy/memory_counters.h"
#include "proxy/session/session.h"

namespace portcullis::session::testing {

struct Setup {
  config::AuthMode auth = config::AuthMode::off;
  config::ListenerTls tls = config::ListenerTls::off;
  bool auth_without_tls = false;
  smtp::BareLf bare_lf = smtp::BareLf::refuse;
  std::uint64_t message_octets = 1024 * 1024;
  std::uint32_t errors = 20;
  std::uint32_t commands_without_mail = 100;
  std::string upstream_ehlo =
      "250-up\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n";
  config::ClientIdentity identity = config::ClientIdentity::none;
  std::vector<std::string> local_domains = {"example.com"};
  std::uint32_t upstream_command_seconds = 60;
  std::uint32_t minimum_bytes_per_second = 100;
  bool reuse = false;             // a connection given back clean serves the next transaction
  bool trusted_peer = false;      // the client's network may send XCLIENT and XFORWARD
  std::string certificate_login;  // of the client's certificate, shown in each handshake; empty: it has none
  std::uint64_t messages_per_day = 0;    // by client address; 0: no such rate
  std::uint64_t recipients_per_day = 0;  // likewise
};

class Harness {
 public:
  explicit Harness(const Setup& setup);
  ~Harness();

  void start();
  void client(std::string_view bytes);    // the client sends
  void upstream(std::string_view bytes);  // the upstream sends
  void upstream_lost(LinkFailure failure);
  void upstream_silent(bool hung);
  void client_eof();
  void client_lost();
  void tls_done();
  void auth_done(auth::Result result, std::string login);  // of the last attempt
  void auth_done(std::uint32_t attempt, auth::Result result, std::string login, std::uint32_t delay_ms = 0);
  void wake();
  void timeout();
  void drain();
  // What a reload puts in force, of the configuration now and what `change` makes of it.
  void reload(const std::function<void(config::Config&)>& change);
  // What became of the account that is logged in, from now on; and how long its login counts.
  void account_becomes(Accounts::State state, std::vector<std::string> addresses = {});
  void login_counts(std::uint32_t seconds) { accounts_.seconds = seconds; }
  void yield();    // others wait for the connection
  void end_use();  // others have waited for it too long
  UpstreamHold hold() const { return session_->upstream_hold(); }
  std::int64_t now_ms() const { return clock_ms_; }
  void pass(std::int64_t seconds) { clock_ms_ += seconds * 1000; }
  void memory_pressure(MemoryPressure pressure) { pressure_ = pressure; }
  void upstream_full(bool full) { session_->upstream_full(full, now()); }
  // Until the session's deadline.
  std::int64_t seconds_left() const { return (session_->deadline_ms() - clock_ms_) / 1000; }

  // What has come out and was not looked at yet.
  std::string client_out;
  std::string upstream_out;
  bool acquire_fails = false;  // the next connection can not be had
  bool hold_acquire = false;   // connections come only with grant()
  bool reuse = false;          // Setup::reuse
  // Everything sent to the upstream, by connection in the order of opening (without the opening).
  std::vector<std::string> wires;
  // The connection that upstream() speaks for; none: wires.size().
  std::size_t speaking() const { return link_ ? link_wire_ : parked_ ? parked_wire_ : wires.size(); }
  void grant();

  Session& session() { return *session_; }
  bool asked_auth() const { return asked_auth_; }
  bool tls_wanted() const { return tls_wanted_; }
  bool wake_wanted() const { return wake_wanted_; }
  bool acquire_pending() const { return acquire_pending_; }
  bool upstream_open() const { return link_ != nullptr; }
  std::size_t aborted = 0;  // connections closed at once
  std::size_t released = 0;
  std::size_t turns = 0;    // beyond the first one of an event
  bool hold_turns = false;  // they come only with take_turn()
  void take_turn();
  std::string last_login;  // of the last authenticate request
  std::uint32_t last_attempt = 0;

 private:
  // A configuration and what is made of it.
  struct Site {
    Site(config::Config c, policy::CounterStore& counters, metrics::Layout& layout, const Accounts& accounts);
    config::Config config;
    policy::Chain chain;
    std::vector<RuleLabels> rule_labels;
    Policies policies;
  };
  struct Fake : Accounts {
    std::uint64_t generation() const override { return changes; }
    State look_again(policy::Account& account) const override {
      if (state == State::changed) account.addresses = addresses;
      return state;
    }
    std::uint32_t login_seconds(const policy::Account&) const override { return seconds; }
    std::uint64_t changes = 1;
    State state = State::unchanged;
    std::vector<std::string> addresses;
    std::uint32_t seconds = 0;
  };
  void perform();
  void perform_once();
  void open_link();
  UpstreamLink* link_of(std::size_t wire);
  void sent(std::size_t wire, const Output& out);
  Now now() const;

  config::Config config_;
  policy::MemoryCounters counters_{1000};
  metrics::Layout layout_;
  metrics::Shard shard_;
  metrics::Journal journal_;
  Fake accounts_;
  std::shared_ptr<const Policies> in_force_;
  smtp::Slices content_, staged_, framed_;
  std::atomic<MemoryPressure> pressure_ = MemoryPressure::none;
  std::unique_ptr<Environment> environment_;
  std::unique_ptr<ListenerFacts> listener_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<UpstreamLink> link_;
  std::unique_ptr<UpstreamLink> parked_;  // given back, may still owe replies
  std::size_t link_wire_ = 0;             // into wires
  std::size_t parked_wire_ = 0;
  bool parked_clean_ = false;  // its last answer was the one that makes it usable again
  Effects effects_;
  std::string upstream_ehlo_;
  std::string certificate_login_;
  bool asked_auth_ = false;
  bool tls_wanted_ = false;
  bool wake_wanted_ = false;
  bool acquire_pending_ = false;
  std::int64_t clock_ms_ = 1000;
};

}  // namespace portcullis::session::testing
