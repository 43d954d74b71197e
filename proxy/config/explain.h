// What the gateway would say to one message, stage by stage, without a client, an upstream or a
// charge that lasts: for `portcullis explain`. Without a message: what it would say to the client and the
// login.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "policy/counters.h"
#include "policy/facts.h"
#include "policy/identity.h"
#include "policy/lockout.h"
#include "proxy/config/config.h"

namespace portcullis::config {

struct Question {
  std::string listener;                    // name; empty: the first
  std::string client = "192.0.2.1";        // address
  std::optional<policy::Account> account;  // absent: no login
  std::string login_refusal;  // reply to AUTH of a login that no backend would accept; empty: accepted
  bool message = true;        // false: client and login only
  std::string reverse_path;   // without angle brackets; empty: the null reverse-path
  std::vector<std::string> recipients;
  std::string header_from;  // as it would stand in the message; empty: the reverse-path
  std::string sender;       // likewise; empty: no Sender field
  std::optional<std::uint64_t> octets;
  std::size_t attachments = 0;
};

// The report, for a person; the error says which part of the question makes no sense. Charges go to
// `counters`: give it a copy. `lockout` tells whether the login would be asked for at all.
std::expected<std::string, std::string> explain(const Config& config, const Question& question,
                                                policy::CounterStore& counters,
                                                const policy::Lockout& lockout, policy::WallTime now);

}  // namespace portcullis::config
