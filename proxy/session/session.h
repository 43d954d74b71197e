// The conversation with one client: events in, effects out (docs/architecture.md, "Session").
//
// Promises: every command gets exactly one reply, in order (the ledger of owed replies); a message is
// acknowledged only with the upstream's own acknowledgement; a refused message is never completed
// upstream; nothing depends on how the bytes were cut. Pure: no I/O, no clock.
// The caller carries out `Effects` after each event and clears them; it calls timeout() when
// deadline_ms() has passed, and no event but upstream ones after finished().
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/facts.h"
#include "proxy/session/effects.h"
#include "proxy/session/environment.h"
#include "proxy/session/ledger.h"
#include "proxy/session/transaction.h"
#include "proxy/session/upstream_hold.h"
#include "proxy/session/upstream_link.h"
#include "smtp/command.h"
#include "smtp/sasl.h"
#include "smtp/xclient.h"

namespace portcullis::session {

class Session {
 public:
  Session(const Environment& environment, const ListenerFacts& listener, const policy::IpAddress& client,
          std::uint16_t client_port, std::string id, const UpstreamOffer& offer, Now now,
          std::string via = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start(Now now, Effects& effects);  // after accept; with implicit TLS asks for the handshake
  void client_bytes(std::string_view bytes, Now now, Effects& effects);
  void client_eof(Now now, Effects& effects);  // the client will send no more
  // The connection is gone. `detail`: why, for the record, if that is known.
  void client_lost(Now now, Effects& effects, std::string_view detail = {});
  void tls_established(TlsFacts facts, Now now, Effects& effects);
  // `attempt` as in the request that is answered.
  void auth_done(std::uint32_t attempt, auth::Outcome outcome, Now now, Effects& effects);
  void wake(Now now, Effects& effects);
  // Goes on with input that the last event left (wants_turn()): others have had theirs.
  void next_turn(Now now, Effects& effects);
  // `link` is ready and belongs to this session until it is released, aborted or lost.
  void upstream_ready(UpstreamLink& link, Now now, Effects& effects);
  void upstream_answer(Expect what, const smtp::Reply& reply, Now now, Effects& effects);
  void upstream_lost(LinkFailure failure, const std::string& text, Now now, Effects& effects);
  // The upstream has not replied for some time, and another server is there. `hung`: it does not reply to a
  // new connection either.
  void upstream_silent(bool hung, Now now, Effects& effects);
  void timeout(Now now, Effects& effects);
  void drain(Now now, Effects& effects);  // 421 as soon as no transaction is open
  // Whatever is under way; but the answer to a whole message is waited for, unless `at_once`.
  void stop(bool at_once, Now now, Effects& effects);

  // What the transaction does with the connection that it holds.
  UpstreamHold upstream_hold() const;
  // Others wait: gives the connection back if it is idle, and goes on with another one when the client does.
  void yield_upstream(Now now, Effects& effects);
  // Others have waited too long: ends whatever the connection is used for, except the wait for the reply to a
  // whole message.
  void end_upstream_use(Now now, Effects& effects);

  // Whether the driver should read from the client now (back-pressure, law 4).
  bool wants_client_bytes() const;
  // Whether input is left that one event may not go on with: the driver owes a next_turn() behind what others
  // have to say.
  bool wants_turn() const { return turn_spent() && !finished_; }
  // The driver holds many bytes that the upstream does not take (or no longer does).
  void upstream_full(bool full, Now now);
  std::int64_t deadline_ms() const { return deadline_ms_; }
  // Octets of the client's that the session keeps at the moment (law 4).
  std::size_t held_octets() const;
  bool finished() const { return finished_; }
  // Whether bytes given to client_bytes() since the last call had AUTH data: the driver wipes them (law 6).
  bool took_secret() { return std::exchange(secret_arrived_, false); }
  const std::string& id() const { return id_; }
  XClient xclient() const;  // for a connection bound to this client
  // Whether the client may still have something to say that must be read, so that it hears our last reply.
  bool lingers() const { return lingers_; }
  bool in_transaction() const { return transaction_ != nullptr; }
  bool authenticated() const { return account_ != nullptr; }
  const policy::IpAddress& client() const { return client_; }  // the address that policies judge
  std::string_view login() const { return account_ ? std::string_view(account_->login) : std::string_view(); }

 private:
  enum class Input : std::uint8_t { command, sasl, data, chunk, discard_chunk };
  enum class Wait : std::uint8_t { none, tls, auth, auth_delay, upstream_reply };
  enum class Deadline : std::uint8_t {
    greeting,
    command,
    content,
    auth,
    upstream,
    upstream_stall,
    upstream_final
  };

  // So many commands of one client are carried out before others have their turn.
  static constexpr std::uint32_t steps_of_a_turn = 64;

  // --- session.cc: input, ledger, the end
  std::string_view consume(std::string_view bytes, Now now, Effects& fx);
  std::size_t consume_line(std::string_view bytes, Now now, Effects& fx);
  void resume(Now now, Effects& fx);
  bool holds_auth() const;
  void keep(std::string_view bytes);
  void after_event(Now now, Effects& fx);
  bool blocked() const;
  bool turn_spent() const { return steps_ >= steps_of_a_turn; }
  void answer(ReplyTo to, smtp::Reply reply, Effects& fx);
  void say(ReplyTo to, std::uint16_t code, std::string_view enhanced, std::string_view text, Effects& fx);
  void refuse(ReplyTo to, std::uint16_t code, std::string_view enhanced, std::string_view text, Effects& fx);
  void refuse_by_rule(ReplyTo to, const policy::Verdict& verdict, Effects& fx);
  smtp::Reply refusal(std::uint16_t code, std::string_view enhanced, std::string_view text,
                      std::string_view rule = {}) const;
  smtp::Reply signed_refusal(smtp::Reply reply, std::string_view rule = {}) const;
  bool early_data_decides() const;
  bool owes_replies() const;  // replies that the upstream has not given yet
  void flush_ledger(Effects& fx);
  void send_reply(ReplyTo to, const smtp::Reply& reply, Effects& fx);
  void close(metrics::CloseReason reason, std::string_view detail, Now now, Effects& fx);
  // `to`: the command that the farewell answers; without: none.
  void bye(ReplyTo to, std::uint16_t code, std::string_view enhanced, std::string_view text,
           metrics::CloseReason reason, std::string_view detail, Now now, Effects& fx,
           std::string_view rule = {});
  void bye(std::uint16_t code, std::string_view enhanced, std::string_view text, metrics::CloseReason reason,
           std::string_view detail, Now now, Effects& fx);
  bool content_waits_for_reply() const;
  void violation(metrics::Violation type);
  void line_fault(int status, Now now, Effects& fx);
  std::string transaction_id() const;
  policy::ClientFacts client_facts() const;
  static policy::WallTime wall_seconds(Now now);

  // --- session_deadlines.cc
  void arm(Deadline kind, Now now);
  std::int64_t session_end_ms() const;
  bool content_under_way() const;  // begun, and not all here
  void lend_time(bool upstream_is_waited_for, Now now);

  // --- session_commands.cc: the verb table and the short verbs
  void command(const smtp::Command& parsed, Now now, Effects& fx);
  bool refused_before_its_data(const smtp::Command& parsed) const;
  void data_behind_refusal(Now now, Effects& fx);
  void ehlo(std::string_view argument, bool extended, Now now, Effects& fx);
  void starttls(std::string_view argument, Now now, Effects& fx);
  void rset(std::string_view argument, Now now, Effects& fx);
  void quit(std::string_view argument, Now now, Effects& fx);
  void xclient(std::string_view argument, Now now, Effects& fx);
  void xforward(std::string_view argument, Now now, Effects& fx);
  smtp::Extensions offered() const;
  std::uint8_t mechanisms_now() const;
  // What is known of TLS with the client: nothing of one that XCLIENT named. The handshake was the proxy's.
  const TlsFacts* client_tls() const { return named_by_xclient_ ? nullptr : tls_.get(); }

  // --- session_changes.cc: false when the session has ended
  bool follow_configuration(Now now, Effects& fx);
  bool account_stands(bool outside, Now now, Effects& fx);

  // --- session_auth.cc
  void auth(std::string_view argument, Now now, Effects& fx);
  void sasl_line(std::string_view line, Now now, Effects& fx);
  void sasl_step(std::optional<std::string_view> response, Now now, Effects& fx);
  void sasl_credentials(Now now, Effects& fx);
  void external(const smtp::Credentials& credentials, Now now, Effects& fx);
  void malformed_auth(std::string_view text, Effects& fx);
  void count_auth(std::optional<smtp::Mechanism> mechanism, metrics::AuthResult result);
  void auth_answer(Now now, Effects& fx);

  // --- session_envelope.cc
  void mail(std::string_view argument, Now now, Effects& fx);
  void rcpt(std::string_view argument, Now now, Effects& fx);
  bool mail_allowed(Now now, Effects& fx);
  bool begin_transaction(std::string_view argument, Now now, Effects& fx);
  bool mail_passed(const policy::Verdict& verdict, Now now, Effects& fx);
  void refuse_mail(smtp::Reply reply, std::string_view rule, Now now, Effects& fx);
  void refuse_recipient(std::string_view recipient, smtp::Reply reply, std::string_view rule, Effects& fx);
  bool recipient_passed(std::string_view recipient, const policy::Verdict& verdict, Effects& fx);
  void send_rcpt(std::size_t index, Effects& fx);
  void send_envelope(Effects& fx);
  void rcpt_answered(const smtp::Reply& reply, Now now, Effects& fx);
  void mail_answered(const smtp::Reply& reply);
  bool stale_connection() const;
  smtp::Reply loss_reply(LinkFailure failure, bool reached) const;
  void settle_recipient(smtp::Reply reply);  // the first that is open in the ledger
  void settle_all_recipients(const smtp::Reply& reply, Effects& fx);
  smtp::Reply relayed(const smtp::Reply& reply) const;

  // --- session_failover.cc
  bool may_begin_anew() const;
  void begin_anew(Now now, Effects& fx);
  bool upstream_owes() const;

  // --- session_sharing.cc: upstream connections that others wait for
  void begin_upstream_use(Now now);
  void note_upstream_use(Now now);
  void note_client_pace(std::size_t octets, Now now);
  bool may_yield() const;
  bool awaits_envelope(const smtp::Command& parsed, Now now, Effects& fx);
  bool repeats_envelope() const;
  void repeated_recipient_answered(const smtp::Reply& reply, Now now, Effects& fx);

  // --- session_content.cc: from the client
  void data(std::string_view argument, Now now, Effects& fx);
  void bdat(std::string_view argument, Now now, Effects& fx);
  bool begin_content(bool bdat, smtp::Verb verb, Now now, Effects& fx);
  std::size_t consume_data(std::string_view bytes, Now now, Effects& fx);
  std::size_t consume_chunk(std::string_view bytes, Now now, Effects& fx);
  void chunk_complete(Now now, Effects& fx);
  std::size_t discard_chunk(std::string_view bytes, Now now, Effects& fx);
  void take_content(smtp::Slices& slices, Now now, Effects& fx);
  void header_complete(Now now, Effects& fx);
  bool exceeds_upstream_size() const;
  void refuse_too_large_for_upstream(Effects& fx);
  void judge_eight_bit(Effects& fx);
  void content_fault(smtp::BodyFault fault, Now now, Effects& fx);
  void content_complete(Now now, Effects& fx);
  void refuse_message(smtp::Reply reply, std::string_view rule, Effects& fx);
  bool passed(const policy::Verdict& verdict, Effects& fx);
  // Whether the message may go on although `rule` found something in it.
  bool tolerated(policy::Stage stage, smtp::Strictness rule, const smtp::Reply& reply, Effects& fx) {
    return passed(policies_->chain.strict(stage, rule, reply), fx);
  }
  smtp::HeaderReport read_header() const;
  policy::TransactionFacts transaction_facts() const;

  // --- session_forward.cc: to the upstream
  void begin_message(Now now, Effects& fx);
  void hold_header();
  void send_data_early(Effects& fx);
  bool expects_data() const;
  void take_back_data(Now now, Effects& fx);
  void give_up_early_data(Effects& fx);
  bool upstream_takes_chunks() const;
  void push_content(bool last, Effects& fx);
  void push_chunk(bool last, Effects& fx);
  void push_data(bool last, Effects& fx);
  void end_message(Now now, Effects& fx);
  void data_answered(const smtp::Reply& reply, Now now, Effects& fx);
  void message_answered(const smtp::Reply& reply, Now now, Effects& fx);
  void leave_upstream(Effects& fx);  // RSET and release, or abort: whatever the state asks for
  void final_reply(smtp::Reply reply, metrics::MessageResult result, Now now, Effects& fx);

  // --- session_records.cc
  void end_transaction(metrics::MessageResult result, const smtp::Reply* reply, Now now, Effects& fx);
  void count_message(const Transaction& t, metrics::MessageResult result, Now now);
  // What the client was told in the end.
  struct FinalReply {
    const smtp::Reply* reply;  // none: nothing
    std::string_view rule;     // that decided, if one did
  };
  void write_transaction(const Transaction& t, const smtp::XAttributes* forwarded,
                         metrics::MessageResult result, const FinalReply& told, Now now);
  void note_recipient(std::string_view recipient, const smtp::Reply& reply, std::string_view rule);
  void note_upstream_reply(const smtp::Reply& reply);  // that decides about the message
  void note_hits(const policy::Verdict& verdict);
  void note_refusal(ReplyTo to, const smtp::Reply& reply);  // outside of a transaction
  bool only_a_probe(metrics::CloseReason reason, std::string_view detail) const;
  // Evaluates the rules of a stage, timed.
  template <typename Evaluate>
  policy::Verdict judge(metrics::Stage stage, Evaluate evaluate) const {
    if (env_.nanoseconds == nullptr) return evaluate();
    const std::int64_t start = env_.nanoseconds();
    policy::Verdict verdict = evaluate();
    env_.shard.observe<metrics::Metric::policy_evaluation_duration>(
        stage, static_cast<double>(env_.nanoseconds() - start) * 1e-9);
    return verdict;
  }
  void write_session(metrics::CloseReason reason, std::string_view detail, Now now);
  using AddressText = std::array<char, policy::ip_text_octets>;
  // Views into the session, and into `address`, to which the client's is written.
  metrics::PeerRecord peer_record(AddressText& address) const;

  const Environment& env_;
  std::shared_ptr<const Policies> policies_;  // of this transaction, or the next
  const ListenerFacts& listener_;
  policy::IpAddress client_;
  std::uint16_t client_port_;
  const std::string id_;
  std::string via_;       // address of the trusted peer that named the client, or empty
  bool by_proxy_header_;  // and not by XCLIENT
  const UpstreamOffer offer_;
  std::int64_t started_ms_;
  std::int64_t deadline_ms_ = 0;
  Deadline deadline_kind_ = Deadline::greeting;
  Input input_ = Input::command;
  Wait wait_ = Wait::none;
  bool finished_ = false;
  bool may_send_data_early_ = true;
  bool command_waits_ = false;   // the next one, for the replies owed to those before it
  bool reply_may_wait_ = false;  // for the replies to what the client sent with this command
  bool data_refused_ = false;    // by the reply to the last command: what follows may be content
  bool lingers_ = false;
  bool greeted_ = false;   // banner sent
  bool extended_ = false;  // EHLO, not HELO
  bool eof_ = false;
  bool lost_ = false;  // nobody is there to hear replies
  bool draining_ = false;
  bool upstream_full_ = false;
  bool auth_without_tls_ = false;                 // the client's network may
  bool may_xclient_ = false;                      // the network of the peer that is really connected may
  bool may_xforward_ = false;                     // likewise
  bool named_by_xclient_ = false;                 // the client at hand is not the peer that is connected
  std::unique_ptr<smtp::XAttributes> forwarded_;  // for one transaction
  bool tls_used_ = false;
  bool secret_seen_ = false;     // the bytes at hand had AUTH data
  bool secret_arrived_ = false;  // since took_secret()
  bool error_told_ = false;      // the OAuth error challenge was sent
  // RCPT and DATA that a pipelining client sent behind this MAIL are answered 503, and are no violation.
  bool mail_refused_ = false;
  bool may_be_probe_ = false;  // the peer is a load balancer, and speaks for itself
  std::string helo_;
  std::unique_ptr<TlsFacts> tls_;
  std::unique_ptr<policy::Account> account_;
  std::uint64_t accounts_generation_ = 0;  // when account_ was looked at last
  std::int64_t login_ms_ = 0;
  std::string mechanism_;
  std::string attempted_login_;
  std::unique_ptr<smtp::SaslExchange> sasl_;
  std::unique_ptr<auth::Outcome> auth_outcome_;
  std::unique_ptr<metrics::RefusalRecords> refusals_;
  std::uint32_t refusals_total_ = 0;
  std::unique_ptr<Transaction> transaction_;
  UpstreamLink* link_ = nullptr;
  Pace pace_;  // of the client, while it holds a connection
  bool server_is_waited_for_ = false;
  std::int64_t upstream_use_since_ms_ = 0;
  std::string pending_;  // bytes not decided yet
  Ledger ledger_;
  std::uint64_t discard_left_ = 0;  // of a chunk that belongs to no message
  std::uint64_t discarded_ = 0;
  std::int64_t discard_started_ms_ = 0;
  smtp::Reply discard_reply_;
  std::uint64_t octets_in_ = 0;
  std::uint64_t octets_out_ = 0;
  std::uint32_t steps_ = 0;  // commands and pieces of content since others had a turn
  std::uint32_t commands_ = 0;
  std::uint32_t commands_without_mail_ = 0;
  std::uint32_t errors_ = 0;
  std::uint32_t auth_failures_ = 0;
  std::uint32_t auth_attempt_ = 0;
  std::uint32_t transactions_ = 0;
  std::uint32_t messages_accepted_ = 0;
  std::uint32_t lone_recipients_ = 0;  // messages in a row that had one recipient each
  // Of the client at hand: XCLIENT names another one.
  std::uint32_t client_messages_ = 0;
  std::uint64_t client_recipients_ = 0;
};

}  // namespace portcullis::session
