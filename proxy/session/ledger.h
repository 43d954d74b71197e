// The replies a session owes its client, in the order of the client's commands (RFC 2920 3.2). A reply that
// is settled waits only for those before it; one that is open waits for the upstream's reply to a recipient.
// Every operation takes constant time, however many recipients are pipelined.
//
//   ledger.add(Verb::mail, reply); ledger.add_open(recipient); …
//   ledger.settle(reply);                     // the first open one
//   while (const auto* entry = ledger.front_settled()) { send(*entry); ledger.pop(); }
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "metrics/labels.h"
#include "smtp/command.h"
#include "smtp/reply.h"

namespace portcullis::session {

// What a reply answers, for the metrics.
struct ReplyTo {
  constexpr ReplyTo(smtp::Verb command)  // NOLINT: implicit on purpose
      : verb{static_cast<std::uint8_t>(command)} {}
  constexpr ReplyTo(metrics::ReplyVerb other) : verb(other) {}  // NOLINT
  metrics::ReplyVerb verb;
};

class Ledger {
 public:
  struct Entry {
    ReplyTo to;
    bool settled;
    std::size_t recipient;  // of an open entry: index into Transaction::recipients
    smtp::Reply reply;      // of a settled one
  };

  bool empty() const { return first_ == entries_.size(); }
  std::size_t size() const { return entries_.size() - first_; }
  bool has_open() const { return open_ > 0; }
  std::size_t held_octets() const;

  void add(ReplyTo to, smtp::Reply reply);
  void add_open(ReplyTo to, std::size_t recipient);
  // The entry that the upstream's next reply to a recipient settles; has_open().
  const Entry& first_open() const { return entries_[first_open_]; }
  void settle(smtp::Reply reply);  // first_open()

  // The reply to be sent next, null when there is none or it is open.
  const Entry* front_settled() const {
    return !empty() && entries_[first_].settled ? &entries_[first_] : nullptr;
  }
  void pop();

  // Calls `visit(recipient)` for each open entry, in order.
  template <typename Visit>
  void each_open(Visit visit) const {
    if (!has_open()) return;
    for (std::size_t i = first_open_; i < entries_.size(); ++i) {
      if (!entries_[i].settled) visit(entries_[i].recipient);
    }
  }

 private:
  std::vector<Entry> entries_;  // those before first_ are sent
  std::size_t first_ = 0;
  std::size_t first_open_ = 0;  // where has_open()
  std::size_t open_ = 0;
};

}  // namespace portcullis::session
