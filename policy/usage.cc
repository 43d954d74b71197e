#include "policy/usage.h"

#include <algorithm>
#include <limits>

namespace portcullis::policy {
namespace {

bool exceeds(std::uint64_t amount, const std::optional<std::uint64_t>& limit) {
  return limit && amount > *limit;
}

std::string with_limit(std::string_view before, std::uint64_t limit, std::string_view after) {
  return std::string(before) + std::to_string(limit) + std::string(after);
}

bool fire_size(const RuleRef& ref, std::uint64_t limit, Judge& judge) {
  return judge.fire(ref,
                    {552, "5.3.4", with_limit("Message too large: at most ", limit, " bytes are allowed")});
}

}  // namespace

UsageCheck::UsageCheck(const Settings& settings, const NetworkIndex& ranges, std::uint16_t first_number)
    : rules_(settings.usage),
      first_number_(first_number),
      mail_(settings.networks, ranges),
      rcpt_(settings.networks, ranges),
      header_(settings.networks, ranges),
      message_(settings.networks, ranges) {
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const UsageRule& rule = rules_[i];
    if (rule.mode == Mode::off) continue;
    const auto add = [&](RuleIndex& index) {
      index.add(static_cast<std::uint16_t>(i), {rule.listeners, {}, {}, rule.groups});
    };
    if (rule.messages_per_session || rule.message_bytes) add(mail_);
    if (rule.recipients_per_message || rule.recipients_per_session) add(rcpt_);
    if (rule.visible_recipients_per_message) add(header_);
    if (rule.message_bytes || rule.attachments_per_message) add(message_);
  }
}

template <typename Ask>
void UsageCheck::each(const RuleIndex& index, const ClientFacts& client, Ask&& ask) const {
  if (index.empty()) return;
  RuleList memory;
  for (const std::uint16_t i : index.find(client, memory)) {
    if (ask(rules_[i], RuleRef{static_cast<std::uint16_t>(first_number_ + i), rules_[i].mode})) return;
  }
}

void UsageCheck::mail(const ClientFacts& client, const TransactionFacts& transaction, Judge& judge) const {
  const auto* parameters = transaction.mail_parameters;
  const std::uint64_t declared = parameters == nullptr ? 0 : parameters->size_octets.value_or(0);
  each(mail_, client, [&](const UsageRule& rule, const RuleRef& ref) {
    if (exceeds(client.session_messages + 1, rule.messages_per_session) &&
        judge.fire(ref, {450, "4.7.1", "Too many messages in this session: reconnect to send more"})) {
      return true;
    }
    return exceeds(declared, rule.message_bytes) && fire_size(ref, *rule.message_bytes, judge);
  });
}

void UsageCheck::rcpt(const ClientFacts& client, const TransactionFacts& transaction, Judge& judge) const {
  const std::uint64_t in_message = transaction.recipients.size() + 1;
  each(rcpt_, client, [&](const UsageRule& rule, const RuleRef& ref) {
    if (exceeds(in_message, rule.recipients_per_message) &&
        judge.fire(ref, {452, "4.5.3",
                         with_limit("Too many recipients: send to at most ", *rule.recipients_per_message,
                                    " at a time")})) {
      return true;
    }
    return exceeds(client.session_recipients + in_message, rule.recipients_per_session) &&
           judge.fire(ref, {452, "4.5.3", "Too many recipients in this session: reconnect to send more"});
  });
}

void UsageCheck::header(const ClientFacts& client, const smtp::HeaderFacts& header, Judge& judge) const {
  each(header_, client, [&](const UsageRule& rule, const RuleRef& ref) {
    return exceeds(header.visible_recipients, rule.visible_recipients_per_message) &&
           judge.fire(ref, {550, "5.7.1",
                            with_limit("Too many addresses in To and Cc: put all but ",
                                       *rule.visible_recipients_per_message, " into Bcc")});
  });
}

void UsageCheck::message(const ClientFacts& client, const ContentFacts& content, Judge& judge) const {
  each(message_, client, [&](const UsageRule& rule, const RuleRef& ref) {
    if (exceeds(content.octets, rule.message_bytes) && fire_size(ref, *rule.message_bytes, judge))
      return true;
    if (!rule.attachments_per_message) return false;
    if (content.mime.attachments > *rule.attachments_per_message) {
      return judge.fire(
          ref, {550, "5.7.1",
                with_limit("Too many attachments: at most ", *rule.attachments_per_message, " are allowed")});
    }
    // Parts that were not counted may be the ones too many.
    return content.mime.limit_exceeded &&
           judge.fire(ref,
                      {550, "5.7.1", "Message structure too complex to count its attachments: simplify it"});
  });
}

std::uint64_t UsageCheck::message_octets_allowed(const ClientFacts& client) const {
  std::uint64_t allowed = std::numeric_limits<std::uint64_t>::max();
  each(message_, client, [&](const UsageRule& rule, const RuleRef&) {
    if (rule.mode == Mode::enforce && rule.message_bytes) allowed = std::min(allowed, *rule.message_bytes);
    return false;
  });
  return allowed;
}

}  // namespace portcullis::policy
