#include "proxy/session/ledger.h"

#include <utility>

namespace portcullis::session {

namespace {

// Entries that are sent are dropped when there are so many and they are the greater part: each entry is moved
// once at most for each one dropped.
constexpr std::size_t sent_entries_kept = 32;

}  // namespace

std::size_t Ledger::held_octets() const {
  std::size_t octets = entries_.size() * sizeof(Entry);
  for (std::size_t i = first_; i < entries_.size(); ++i) octets += entries_[i].reply.text.size();
  return octets;
}

void Ledger::add(ReplyTo to, smtp::Reply reply) { entries_.push_back({to, true, 0, std::move(reply)}); }

void Ledger::add_open(ReplyTo to, std::size_t recipient) {
  if (open_++ == 0) first_open_ = entries_.size();
  entries_.push_back({to, false, recipient, {}});
}

void Ledger::settle(smtp::Reply reply) {
  entries_[first_open_].reply = std::move(reply);
  entries_[first_open_].settled = true;
  if (--open_ == 0) return;
  while (entries_[first_open_].settled) ++first_open_;
}

void Ledger::pop() {
  entries_[first_++].reply = {};
  const bool all = first_ == entries_.size();
  if (!all && (first_ < sent_entries_kept || 2 * first_ < entries_.size())) return;
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(first_));
  first_open_ -= has_open() ? first_ : 0;
  first_ = 0;
  // An idle session keeps no memory of a long group.
  if (all && entries_.capacity() > sent_entries_kept) std::vector<Entry>().swap(entries_);
}

}  // namespace portcullis::session
