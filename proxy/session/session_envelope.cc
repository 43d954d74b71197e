// MAIL and RCPT: parsed, judged, sent on, and the upstream's answers mapped back in order.
#include <algorithm>
#include <utility>

#include "policy/spelling.h"
#include "proxy/session/session.h"
#include "proxy/session/upstream_commands.h"
#include "smtp/ascii.h"
#include "smtp/limits.h"

namespace portcullis::session {

namespace {

constexpr std::size_t recorded_octets = 320;  // in the journal, of a path that could not be read

smtp::Reply path_fault(smtp::PathError error, bool reverse) {
  switch (error) {
    case smtp::PathError::utf8_not_allowed:
      return {553, "5.6.7", "Address has non-ASCII characters but SMTPUTF8 was not requested"};
    case smtp::PathError::too_long:
      return {501, reverse ? "5.1.7" : "5.1.3", "Address is too long"};
    case smtp::PathError::syntax:
      break;
  }
  return {501, reverse ? "5.1.7" : "5.1.3",
          reverse ? "Bad sender address syntax" : "Bad recipient address syntax"};
}

smtp::Reply odd_form(bool reverse) {
  return {501, reverse ? "5.1.7" : "5.1.3", "Address is not written as RFC 5321 4.1.2 requires"};
}

}  // namespace

policy::TransactionFacts Session::transaction_facts() const {
  return {&transaction_->reverse_path, &transaction_->mail, transaction_->recipients};
}

bool Session::mail_allowed(Now, Effects& fx) {
  if (listener_.settings.auth != config::AuthMode::required || account_) return true;
  const bool tls_first = !tls_ && !auth_without_tls_;
  refuse(smtp::Verb::mail, 530, "5.7.0",
         tls_first ? "Send STARTTLS and AUTH first" : "Authentication required", fx);
  return false;
}

// The transaction exists from here on, and a refusal leaves a record of it.
bool Session::begin_transaction(std::string_view argument, Now now, Effects& fx) {
  using smtp::Strictness;
  transaction_ = std::make_unique<Transaction>();
  Transaction& t = *transaction_;
  t.number = ++transactions_;
  t.started_ms = now.mono_ms;
  const auto found = [&](Strictness rule, const smtp::Reply& reply) {
    return mail_passed(policies_->chain.strict(policy::Stage::mail, rule, reply), now, fx);
  };
  const smtp::Extensions offer = offered();
  auto parsed = smtp::parse_mail_argument(argument, offer.smtputf8 && smtp::has_smtputf8_parameter(argument));
  if (!parsed) {
    t.reverse_path_text = argument.substr(0, recorded_octets);
    return found(Strictness::address_syntax, path_fault(parsed.error(), true));
  }
  t.reverse_path = std::move(parsed->path);
  policy::spell_as_judged(transaction_->reverse_path);
  auto parameters = smtp::parse_mail_parameters(parsed->parameters, offer);
  if (!parameters) return found(Strictness::parameter_syntax, parameters.error());
  if (parsed->odd_form && !found(Strictness::address_form, odd_form(true))) return false;
  if (parameters->size_octets.value_or(0) > *offer.size) {
    refuse_mail({552, "5.3.4", "Message is larger than this server accepts"}, {}, now, fx);
    return false;
  }
  t.mail = std::move(*parameters);
  return true;
}

bool Session::mail_passed(const policy::Verdict& verdict, Now now, Effects& fx) {
  note_hits(verdict);
  if (verdict.action == policy::Action::accept) return true;
  refuse_mail(verdict.reply, policies_->chain.rule_names()[verdict.rule], now, fx);
  return false;
}

void Session::refuse_mail(smtp::Reply reply, std::string_view rule, Now now, Effects& fx) {
  transaction_->rule = rule;
  ++errors_;
  reply = signed_refusal(std::move(reply), rule);
  answer(smtp::Verb::mail, reply, fx);
  end_transaction(reply.permanent() ? metrics::MessageResult::rejected : metrics::MessageResult::deferred,
                  &reply, now, fx);
}

void Session::mail(std::string_view argument, Now now, Effects& fx) {
  const smtp::Verb verb = smtp::Verb::mail;
  mail_refused_ = true;
  if (!follow_configuration(now, fx) || !account_stands(true, now, fx)) return;
  if (!mail_allowed(now, fx)) return;
  if (env_.memory_pressure != nullptr && env_.memory_pressure->load(std::memory_order_relaxed) >=
                                             (account_ ? MemoryPressure::critical : MemoryPressure::high)) {
    return refuse(verb, 452, "4.3.1", "Short of memory, try again later", fx);
  }
  if (!begin_transaction(argument, now, fx)) return;
  const policy::Verdict verdict = judge(metrics::Stage::mail, [&] {
    return policies_->chain.mail(client_facts(), transaction_facts(), wall_seconds(now));
  });
  if (!mail_passed(verdict, now, fx)) return;
  mail_refused_ = false;
  say(verb, 250, "2.1.0", "Ok", fx);
}

void Session::rcpt(std::string_view argument, Now now, Effects& fx) {
  const smtp::Verb verb = smtp::Verb::rcpt;
  if (!transaction_ || transaction_->content) {
    if (transaction_ || !mail_refused_) violation(metrics::Violation::bad_sequence);
    return refuse(verb, 503, "5.5.1", transaction_ ? "BDAT has begun" : "Send MAIL first", fx);
  }
  if (!account_stands(false, now, fx)) return;
  Transaction& t = *transaction_;
  const auto found = [&](std::string_view recipient, smtp::Strictness rule, const smtp::Reply& reply) {
    return recipient_passed(recipient, policies_->chain.strict(policy::Stage::rcpt, rule, reply), fx);
  };
  auto parsed = smtp::parse_rcpt_argument(argument, t.mail.smtputf8);
  if (!parsed) {
    found(argument.substr(0, recorded_octets), smtp::Strictness::address_syntax,
          path_fault(parsed.error(), false));
    return;
  }
  policy::spell_as_judged(parsed->path);
  const std::string recipient = smtp::to_string(parsed->path.mailbox);
  auto parameters = smtp::parse_rcpt_parameters(parsed->parameters, offered());
  if (!parameters) {
    found(recipient, smtp::Strictness::parameter_syntax, parameters.error());
    return;
  }
  if (parsed->odd_form && !found(recipient, smtp::Strictness::address_form, odd_form(false))) return;
  if (t.recipients.size() >= listener_.settings.limits.recipients) {
    return refuse_recipient(recipient, refusal(452, "4.5.3", "Too many recipients for one message"), {}, fx);
  }
  const policy::Verdict verdict = judge(metrics::Stage::rcpt, [&] {
    return policies_->chain.rcpt(client_facts(), transaction_facts(), parsed->path, wall_seconds(now),
                                 t.charges);
  });
  if (!recipient_passed(recipient, verdict, fx)) return;
  if (t.upstream_refusal) return refuse_recipient(recipient, *t.upstream_refusal, {}, fx);
  t.recipients.push_back(parsed->path);
  t.recipient_parameters.push_back(std::move(*parameters));
  ledger_.add_open(verb, t.recipients.size() - 1);
  if (t.early_data != EarlyData::no) take_back_data(now, fx);
  if (t.upstream == UpstreamState::none) {
    t.upstream = UpstreamState::acquiring;
    fx.acquire_upstream = true;
    arm(Deadline::upstream, now);
  } else if (t.upstream == UpstreamState::envelope) {
    send_rcpt(t.recipients.size() - 1, fx);
    arm(Deadline::upstream, now);
  }
}

bool Session::recipient_passed(std::string_view recipient, const policy::Verdict& verdict, Effects& fx) {
  note_hits(verdict);
  if (verdict.action == policy::Action::accept) return true;
  const std::string& rule = policies_->chain.rule_names()[verdict.rule];
  refuse_recipient(recipient, signed_refusal(verdict.reply, rule), rule, fx);
  return false;
}

void Session::refuse_recipient(std::string_view recipient, smtp::Reply reply, std::string_view rule,
                               Effects& fx) {
  ++errors_;
  ++transaction_->refused;
  note_recipient(recipient, reply, rule);
  answer(smtp::Verb::rcpt, std::move(reply), fx);
}

// --- to the upstream ------------------------------------------------------------------------------

void Session::upstream_ready(UpstreamLink& link, Now now, Effects& fx) {
  if (finished_ || !transaction_ || transaction_->upstream != UpstreamState::acquiring) {
    fx.leave_upstream = Leave::release;
    return;
  }
  Transaction& t = *transaction_;
  link_ = &link;
  t.upstream = UpstreamState::envelope;
  t.upstream_name = link.name();
  t.pooled = link.transactions() > 0;
  ++t.attempts;
  begin_upstream_use(now);
  if (t.mail.smtputf8 && !link.extensions().smtputf8) {
    // Offered on the word of an earlier probe, or of none; this server can not, and nobody may downgrade.
    // The client's next session hears a truer offer.
    leave_upstream(fx);
    t.upstream_refusal = refusal(451, "4.6.7", "The mail server behind does not take SMTPUTF8 now");
    settle_all_recipients(*t.upstream_refusal, fx);
    arm(Deadline::command, now);
  } else {
    send_envelope(fx);
    arm(Deadline::upstream, now);
  }
  after_event(now, fx);
}

void Session::send_envelope(Effects& fx) {
  const Transaction& t = *transaction_;
  const config::Upstream& upstream = listener_.upstream;
  // A reply too many that came since the last poll would shift all that follow. DATA's 354 can not be taken
  // for another reply, nor another for it; where there will be none, the socket is asked.
  fx.check_upstream_silent = upstream_takes_chunks();
  std::string wire;
  if (upstream.client_identity == config::ClientIdentity::xforward) {
    const std::string id = transaction_id();
    std::string literal = policy::to_literal(client_);
    ClientIdentityFacts client{literal, client_port_, helo_, extended_, {}, id, {}};
    if (forwarded_) {
      // Where it came from there, under our id: by that our journal leads on.
      const std::optional<policy::IpAddress> address = policy::parse_ip(forwarded_->addr);
      literal = address ? policy::to_literal(*address) : std::string();
      client = {literal,
                forwarded_->port.value_or(0),
                forwarded_->helo,
                !smtp::equals_ignoring_case(forwarded_->proto, "SMTP"),
                {},
                id,
                forwarded_->name};
      client.local = smtp::equals_ignoring_case(forwarded_->source, "LOCAL");
    }
    const std::size_t lines = append_xforward(wire, client, link_->extensions().xforward);
    std::string_view rest = wire;
    for (std::size_t i = 0; i < lines; ++i) {
      const std::size_t end = rest.find('\n') + 1;
      link_->command(rest.substr(0, end), Expect::xforward, fx.upstream);
      rest.remove_prefix(end);
    }
    wire.clear();
  }
  // RFC 4954 section 5: AUTH= only toward servers trusted for it; "<>" says "not known".
  std::string_view auth;
  if (upstream.trusted_for_auth) auth = account_ ? std::string_view(account_->login) : std::string_view("<>");
  append_mail(wire, t.reverse_path, t.mail, link_->extensions(), auth);
  link_->command(wire, Expect::mail, fx.upstream);
  if (t.unconfirmed > 0) {
    for (const std::size_t index : t.accepted_recipients) send_rcpt(index, fx);
  }
  ledger_.each_open([&](std::size_t recipient) { send_rcpt(recipient, fx); });
  if (t.early_data == EarlyData::wanted || expects_data()) send_data_early(fx);
}

XClient Session::xclient() const {
  const std::string literal = policy::to_literal(client_);
  const std::string_view login = account_ ? std::string_view(account_->login) : std::string_view();
  return {xclient_attributes({literal, client_port_, helo_, extended_, login, {}, {}}), helo_};
}

void Session::send_rcpt(std::size_t index, Effects& fx) {
  transaction_->charges.note_asked(index + 1);
  std::string wire;
  append_rcpt(wire, transaction_->recipients[index], transaction_->recipient_parameters[index],
              link_->extensions());
  link_->command(wire, Expect::rcpt, fx.upstream);
}

// --- and back -------------------------------------------------------------------------------------

smtp::Reply Session::relayed(const smtp::Reply& reply) const {
  smtp::Reply out = reply;
  // 421 would tell the client that *this* session closes; an answer of the wrong kind is nobody's.
  if (out.code == 421) {
    out.code = 451;
    if (out.enhanced.empty()) out.enhanced = "4.4.2";
  } else if (!out.transient() && !out.permanent()) {
    return refusal(451, "4.3.0", "The mail server behind gave an unexpected reply");
  }
  if (out.enhanced.empty()) out.enhanced = smtp::generic_enhanced_code(out.code);
  out.text = smtp::cleaned_text(out.text, smtp::limits::relayed_reply_text_octets);
  return signed_refusal(std::move(out));
}

void Session::upstream_answer(Expect what, const smtp::Reply& reply, Now now, Effects& fx) {
  if (!transaction_) return;
  switch (what) {
    case Expect::mail:
      mail_answered(reply);
      break;
    case Expect::rcpt:
      rcpt_answered(reply, now, fx);
      break;
    case Expect::data:
      data_answered(reply, now, fx);
      break;
    case Expect::chunk:
      if (transaction_->content) {
        --transaction_->content->chunks_outstanding;
        if (reply.code != 250) {
          note_upstream_reply(reply);
          refuse_message(relayed(reply), {}, fx);
          if (transaction_->content->complete) {
            const smtp::Reply refused = *transaction_->refusal;
            final_reply(
                refused,
                refused.permanent() ? metrics::MessageResult::rejected : metrics::MessageResult::deferred,
                now, fx);
          }
        } else if (!transaction_->content->complete) {
          arm(Deadline::content, now);
        } else if (!transaction_->refusal) {
          env_.staged.clear();
          end_message(now, fx);
        }
      }
      break;
    case Expect::end_of_data:
      message_answered(reply, now, fx);
      break;
    default:
      break;  // XFORWARD: its refusal costs a log detail, not the mail
  }
  // Each command has its own time (RFC 5321 4.5.3.2): a reply begins that of the next one.
  if (deadline_kind_ == Deadline::upstream && link_ != nullptr && link_->outstanding() > 0) {
    arm(Deadline::upstream, now);
  }
  after_event(now, fx);
}

// A connection from the pool may have been closed by the server just before it was used again. As long
// as it has answered no recipient, nobody was told anything, and another one can begin afresh.
bool Session::stale_connection() const { return transaction_->pooled && may_begin_anew(); }

void Session::mail_answered(const smtp::Reply& reply) {
  if (reply.code == 421 && stale_connection()) return;  // the loss of the connection comes next
  if (reply.code == 250) return;
  // Of an envelope that was accepted before: what the server has against it may pass.
  transaction_->upstream_refusal =
      transaction_->unconfirmed > 0 && !reply.transient()
          ? refusal(451, "4.3.0", "The sender accepted before is refused now, try again later")
          : relayed(reply);
}

void Session::rcpt_answered(const smtp::Reply& reply, Now now, Effects& fx) {
  if (transaction_->unconfirmed > 0) return repeated_recipient_answered(reply, now, fx);
  if (!owes_replies()) return;
  const bool accepted = reply.code == 250 || reply.code == 251;
  if (transaction_->upstream_refusal) {
    settle_recipient(*transaction_->upstream_refusal);
  } else if (accepted) {
    smtp::Reply ok = reply;
    if (ok.enhanced.empty()) ok.enhanced = "2.1.5";
    ok.text = smtp::cleaned_text(ok.text, smtp::limits::relayed_reply_text_octets);
    settle_recipient(std::move(ok));
  } else {
    settle_recipient(relayed(reply));
  }
  flush_ledger(fx);
  if (ledger_.empty()) arm(early_data_decides() ? Deadline::upstream : Deadline::command, now);
}

void Session::settle_recipient(smtp::Reply reply) {
  if (reply.positive()) {
    ++transaction_->accepted;
    transaction_->accepted_recipients.push_back(ledger_.first_open().recipient);
  } else {
    ++transaction_->refused;
    ++errors_;
  }
  const std::size_t recipient = ledger_.first_open().recipient;
  note_recipient(smtp::to_string(transaction_->recipients[recipient].mailbox), reply, {});
  ledger_.settle(std::move(reply));
}

void Session::settle_all_recipients(const smtp::Reply& reply, Effects& fx) {
  while (owes_replies()) settle_recipient(reply);
  flush_ledger(fx);
}

// What the client hears when there is no upstream, or none any more.
smtp::Reply Session::loss_reply(LinkFailure failure, bool reached) const {
  switch (failure) {
    case LinkFailure::busy:
      return refusal(451, "4.3.2", "The mail server behind is busy, try again later");
    case LinkFailure::tls_not_offered:
    case LinkFailure::auth:
    case LinkFailure::xclient:
      return refusal(451, "4.3.5", "The destination mail server is not configured for this gateway");
    default:
      return refusal(451, reached ? "4.4.2" : "4.4.1",
                     reached ? "The connection to the mail server behind was lost, try again later"
                             : "The mail server behind can not be reached, try again later");
  }
}

void Session::upstream_lost(LinkFailure failure, const std::string& text, Now now, Effects& fx) {
  const smtp::Reply parting = link_ != nullptr ? link_->parting() : smtp::Reply();
  link_ = nullptr;
  upstream_full_ = false;
  if (finished_ || !transaction_) return;
  Transaction& t = *transaction_;
  const bool again = (failure == LinkFailure::closed || failure == LinkFailure::unasked ||
                      failure == LinkFailure::malformed) &&
                     stale_connection() && (owes_replies() || t.unconfirmed > 0);
  if (again) {
    begin_anew(now, fx);
    return;
  }
  // Not this transaction's.
  if (t.upstream == UpstreamState::none || t.upstream == UpstreamState::gone) return;
  const UpstreamState state = std::exchange(t.upstream, UpstreamState::gone);
  if (t.upstream_reply.empty()) t.upstream_reply = std::string(name_of(failure)) + ": " + text;
  smtp::Reply reply = loss_reply(failure, state != UpstreamState::acquiring);
  if (t.content && parting.code != 0) {
    // The server refused the message and did not wait for its end: as a 451 it would come again and again.
    note_upstream_reply(parting);
    reply = relayed(parting);
  } else if (t.data_refusal) {
    reply = relayed(*t.data_refusal);
  }
  if (!t.upstream_refusal) t.upstream_refusal = reply;
  settle_all_recipients(*t.upstream_refusal, fx);
  if (!t.content) {
    // Even if nothing was owed to the client: what is waited for may have been an answer to DATA that it did
    // not say.
    arm(Deadline::command, now);
  } else {
    if (!t.refusal) t.refusal = reply;
    if (t.content->complete) {
      const smtp::Reply refused = *t.refusal;
      final_reply(refused,
                  refused.permanent() ? metrics::MessageResult::rejected : metrics::MessageResult::deferred,
                  now, fx);
    } else {
      arm(Deadline::content, now);
    }
  }
  after_event(now, fx);
}

}  // namespace portcullis::session
