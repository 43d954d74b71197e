#include "proxy/config/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "policy/chain.h"
#include "smtp/header.h"
#include "smtp/params.h"
#include "smtp/path.h"

namespace portcullis::config {

namespace {

// Passes on to the real counters and remembers what they said.
class Listening final : public policy::CounterStore {
 public:
  struct Use {
    std::string limit, key;
    std::uint64_t used = 0, capacity = 0;
    bool within = true;
  };

  explicit Listening(CounterStore& counters) : counters_(counters) {}

  std::expected<Outcome, policy::StoreError> charge(const Charge& charge, policy::WallTime now,
                                                    bool always) override {
    auto outcome = counters_.charge(charge, now, always);
    note(charge, outcome);
    return outcome;
  }
  void refund(const Charge& charge, policy::WallTime charged, policy::WallTime now) override {
    counters_.refund(charge, charged, now);
  }
  std::expected<Outcome, policy::StoreError> peek(const Charge& charge, policy::WallTime now) const override {
    return counters_.peek(charge, now);
  }

  std::vector<Use> take() { return std::exchange(uses_, {}); }

 private:
  void note(const Charge& charge, const std::expected<Outcome, policy::StoreError>& outcome) {
    if (!outcome) return;
    uses_.push_back({std::string(charge.limit), std::string(charge.key), outcome->used, charge.capacity,
                     outcome->within});
  }

  CounterStore& counters_;
  std::vector<Use> uses_;
};

// One message on its way through the chain.
class Walk {
 public:
  Walk(const Config& config, policy::CounterStore& counters, policy::WallTime now)
      : now_(now), counters_(counters), chain_(config.policy, counters_) {}

  std::expected<std::string, std::string> run(const Config& config, const Question& question,
                                              const policy::Lockout& lockout);

 private:
  std::expected<void, std::string> describe_client(const Config& config, const Question& question);
  std::string login_fault(const Question& question, bool may_auth_without_tls) const;
  void refuse(std::string_view step, std::string_view reply);
  void login(const policy::Lockout& lockout, const std::string& login);
  std::expected<void, std::string> envelope(const Question& question);
  void recipients();
  std::expected<void, std::string> header(const Question& question);
  void content(const Question& question);
  void show(std::string_view step, const policy::Verdict& verdict);
  void conclude();

  policy::WallTime now_;
  Listening counters_;
  policy::Chain chain_;
  const Listener* listener_ = nullptr;
  policy::ClientFacts client_;
  policy::ChargeList charges_;
  smtp::Path reverse_path_;
  smtp::MailParameters parameters_;
  std::vector<smtp::Path> recipients_;
  std::vector<smtp::Path> accepted_;
  std::string refused_by_;  // the first step that refused everything
  std::string report_;
};

const Listener* find_listener(const Config& config, const std::string& name) {
  const auto found =
      std::find_if(config.listeners.begin(), config.listeners.end(),
                   [&](const Listener& listener) { return name.empty() || listener.name == name; });
  return found == config.listeners.end() ? nullptr : &*found;
}

std::vector<std::string> owned_texts(const policy::Account& account) {
  std::vector<std::string> texts = account.addresses;
  for (const policy::AddressPattern& pattern : account.patterns) texts.push_back(pattern.text());
  return texts;
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all.empty() ? "none" : all;
}

std::string permissions_text(const policy::Network& network) {
  std::vector<std::string> granted;
  if (network.may_relay) granted.emplace_back("may_relay");
  if (network.may_use_local_senders) granted.emplace_back("may_use_local_senders");
  if (network.may_auth_without_tls) granted.emplace_back("may_auth_without_tls");
  if (network.may_send_proxy_header) granted.emplace_back("may_send_proxy_header");
  if (network.may_send_xclient) granted.emplace_back("may_send_xclient");
  if (network.may_send_xforward) granted.emplace_back("may_send_xforward");
  if (network.exempt_from_connection_limits) granted.emplace_back("exempt_from_connection_limits");
  return joined(granted);
}

std::string_view auth_text(AuthMode mode) {
  return mode == AuthMode::off ? "off" : mode == AuthMode::optional ? "optional" : "required";
}

std::expected<smtp::Path, std::string> parse_path(const std::string& text, bool recipient) {
  const std::string argument = (recipient ? "TO:<" : "FROM:<") + text + '>';
  const auto parsed =
      recipient ? smtp::parse_rcpt_argument(argument, true) : smtp::parse_mail_argument(argument, true);
  if (!parsed || !parsed->parameters.empty()) return std::unexpected("\"" + text + "\" is not an address");
  return parsed->path;
}

void Walk::show(std::string_view step, const policy::Verdict& verdict) {
  report_ += fmt::format("{:<44} {}", step, policy::name_of(verdict.action));
  if (verdict.action != policy::Action::accept) {
    report_ += fmt::format(": {} {} {} (rule {})", verdict.reply.code, verdict.reply.enhanced,
                           verdict.reply.text, chain_.rule_names()[verdict.rule]);
  }
  report_ += '\n';
  for (const policy::Hit& hit : verdict.hits) {
    report_ += fmt::format("    rule {}: {}{}", chain_.rule_names()[hit.rule], policy::name_of(hit.action),
                           hit.mode == policy::Mode::shadow ? ", in shadow: lets pass" : "");
    if (hit.spoof != policy::SpoofCheck::none) report_ += fmt::format(" ({})", policy::name_of(hit.spoof));
    report_ += '\n';
  }
  for (const Listening::Use& use : counters_.take()) {
    report_ += fmt::format("    rate {} for {}: {} of {}{}\n", use.limit, use.key, use.used, use.capacity,
                           use.within ? "" : ", would be exceeded");
  }
}

std::expected<void, std::string> Walk::describe_client(const Config& config, const Question& question) {
  const Listener* listener = find_listener(config, question.listener);
  if (listener == nullptr) return std::unexpected("there is no listener \"" + question.listener + "\"");
  const auto address = policy::parse_ip(question.client);
  if (!address) return std::unexpected("\"" + question.client + "\" is not an IP address");
  client_.address = *address;
  client_.listener = listener->name;
  client_.listener_index = static_cast<std::uint16_t>(listener - config.listeners.data());
  client_.tls = listener->tls != ListenerTls::off;
  client_.account = question.account ? &*question.account : nullptr;

  const policy::Network granted = chain_.permissions(*address);
  listener_ = listener;
  report_ += fmt::format("listener  {}, auth {}\n", listener->name, auth_text(listener->auth));
  report_ += fmt::format("client    {}, network {}, granted: {}\n", policy::to_string(*address),
                         granted.name.empty() ? "unnamed" : granted.name, permissions_text(granted));
  if (question.account) {
    report_ += fmt::format("login     {}, owns also: {}, groups: {}\n", question.account->login,
                           joined(owned_texts(*question.account)), joined(question.account->groups));
    if (const std::string fault = login_fault(question, granted.may_auth_without_tls); !fault.empty()) {
      report_ += "          " + fault + '\n';
      refused_by_ = "the listener: " + fault;
    }
  } else {
    report_ += "login     none\n";
    if (listener->auth == AuthMode::required) refused_by_ = "the listener: 530 5.7.0, a login is required";
  }
  return {};
}

// The reply to AUTH when it is not 235; the session decides in this order too.
std::string Walk::login_fault(const Question& question, bool may_auth_without_tls) const {
  if (listener_->auth == AuthMode::off) return "503 5.5.1 at AUTH: this listener takes no logins";
  if (!client_.tls && !may_auth_without_tls) {
    return "523 5.7.10 at AUTH: this listener has no TLS, and the network may not log in without";
  }
  return question.login_refusal;
}

// A refusal by a limit of the listener, not by a rule.
void Walk::refuse(std::string_view step, std::string_view reply) {
  report_ += fmt::format("{:<44} reject: {}\n", step, reply);
}

void Walk::login(const policy::Lockout& lockout, const std::string& login) {
  using Scope = policy::Lockout::Scope;
  const policy::Lockout::Answer answer = lockout.before(client_.address, login, now_);
  const bool enforced = answer.blocked_by != Scope::none;
  const Scope scope = enforced ? answer.blocked_by : answer.would_block;
  if (scope == Scope::none) return;
  report_ += fmt::format("          brute-force control blocks {}, for another {} s{}\n",
                         scope == Scope::login ? "this login where it is not known" : "the client's network",
                         answer.retry_after_seconds, enforced ? "" : " (in shadow: lets pass)");
  if (enforced && refused_by_.empty()) refused_by_ = "brute-force control: 454 4.7.0 at AUTH";
}

std::expected<void, std::string> Walk::envelope(const Question& question) {
  const auto path = parse_path(question.reverse_path, false);
  if (!path) return std::unexpected(path.error());
  reverse_path_ = *path;
  for (const std::string& text : question.recipients) {
    const auto recipient = parse_path(text, true);
    if (!recipient) return std::unexpected(recipient.error());
    recipients_.push_back(*recipient);
  }
  parameters_.size_octets = question.octets;
  if (question.octets.value_or(0) > listener_->limits.message_octets) {
    refuse(fmt::format("message of {} octets", *question.octets),
           fmt::format(
               "552 5.3.4 Message is larger than this server accepts (message_size of listener {} is {})",
               listener_->name, listener_->limits.message_octets));
    if (refused_by_.empty()) refused_by_ = "MAIL";
  }
  const policy::Verdict verdict = chain_.mail(client_, {&reverse_path_, &parameters_, {}}, now_);
  show("MAIL FROM:" + smtp::to_wire(reverse_path_), verdict);
  if (verdict.action != policy::Action::accept && refused_by_.empty()) refused_by_ = "MAIL";
  return {};
}

void Walk::recipients() {
  for (const smtp::Path& recipient : recipients_) {
    if (accepted_.size() >= listener_->limits.recipients) {
      refuse("RCPT TO:" + smtp::to_wire(recipient), "452 4.5.3 Too many recipients for one message");
      continue;
    }
    const policy::Verdict verdict =
        chain_.rcpt(client_, {&reverse_path_, &parameters_, accepted_}, recipient, now_, charges_);
    show("RCPT TO:" + smtp::to_wire(recipient), verdict);
    if (verdict.action == policy::Action::accept) accepted_.push_back(recipient);
  }
  if (accepted_.empty() && refused_by_.empty()) refused_by_ = "every RCPT";
}

std::expected<void, std::string> Walk::header(const Question& question) {
  const std::string author = question.header_from.empty() ? question.reverse_path : question.header_from;
  if (author.empty()) return std::unexpected("a message needs a From: give one for the header");
  std::string block = "From: " + author + "\r\n";
  if (!question.sender.empty()) block += "Sender: " + question.sender + "\r\n";
  for (std::size_t i = 0; i < recipients_.size(); ++i) {
    block += (i == 0 ? "To: " : ",\r\n ") + smtp::to_string(recipients_[i].mailbox);
  }
  block += recipients_.empty() ? "\r\n" : "\r\n\r\n";
  const bool notice = reverse_path_.null && client_.account == nullptr;
  const smtp::HeaderReport report = smtp::parse_header(block, {.smtputf8 = true, .notice = notice});
  for (const smtp::HeaderFinding& finding : report.findings) {
    const policy::Verdict verdict = chain_.strict(policy::Stage::header, finding.rule,
                                                  {550, "5.6.0", finding.field + ": " + finding.reason});
    if (verdict.hits.empty()) continue;
    show("header From: " + author, verdict);
    if (verdict.action == policy::Action::accept) continue;
    if (refused_by_.empty()) refused_by_ = "the header";
    return {};
  }
  const policy::Verdict verdict =
      chain_.header(client_, {&reverse_path_, &parameters_, accepted_}, report.facts, now_);
  show("header From: " + author, verdict);
  if (verdict.action != policy::Action::accept && refused_by_.empty()) refused_by_ = "the header";
  return {};
}

void Walk::content(const Question& question) {
  policy::ContentFacts facts;
  facts.octets = question.octets.value_or(1024);
  facts.mime.attachments = question.attachments;
  facts.mime.parts = question.attachments + 1;
  const policy::Verdict verdict =
      chain_.message(client_, {&reverse_path_, &parameters_, accepted_}, facts, now_, charges_);
  show(fmt::format("message of {} octets, {} attachments", facts.octets, question.attachments), verdict);
  if (verdict.action != policy::Action::accept && refused_by_.empty()) refused_by_ = "the message";
}

void Walk::conclude() {
  if (!refused_by_.empty()) {
    report_ += "\nrefused by " + refused_by_ + '\n';
  } else {
    report_ +=
        fmt::format("\nwould be passed on, for {} of {} recipients\n", accepted_.size(), recipients_.size());
  }
  chain_.settle(charges_, false, now_);
}

std::expected<std::string, std::string> Walk::run(const Config& config, const Question& question,
                                                  const policy::Lockout& lockout) {
  if (auto said = describe_client(config, question); !said) return std::unexpected(said.error());
  if (question.account) login(lockout, question.account->login);
  if (!question.message) {
    report_ += refused_by_.empty() ? "\nmay send MAIL\n" : "\nrefused by " + refused_by_ + '\n';
    return std::move(report_);
  }
  report_ += '\n';
  if (auto said = envelope(question); !said) return std::unexpected(said.error());
  recipients();
  if (auto said = header(question); !said) return std::unexpected(said.error());
  content(question);
  conclude();
  return std::move(report_);
}

}  // namespace

std::expected<std::string, std::string> explain(const Config& config, const Question& question,
                                                policy::CounterStore& counters,
                                                const policy::Lockout& lockout, policy::WallTime now) {
  return Walk(config, counters, now).run(config, question, lockout);
}

}  // namespace portcullis::config
