// How connections to an upstream are shared out, against a model that is slow and plain: who holds, who
// waits, whose turn it is, and what is taken back.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/upstream_reclaim.h"
#include "proxy/net/upstream_shares.h"

namespace {

using portcullis::net::PartyKey;
using portcullis::net::Reclaim;
using portcullis::net::ReclaimPlan;
using portcullis::net::ReclaimReason;
using portcullis::net::UpstreamBorrower;
using portcullis::net::UpstreamConnection;
using portcullis::net::UpstreamShares;
using portcullis::session::UpstreamHold;
using portcullis::session::UpstreamUse;

void check(bool holds) {
  if (!holds) std::abort();
}

constexpr std::size_t party_count = 6;
constexpr std::int64_t now_ms = 100'000;

struct Session final : UpstreamBorrower {
  std::size_t party_number = 0;
  portcullis::session::XClient xclient() const override { return {}; }
  PartyKey party() const override { return {std::to_string(party_number), party_number >= 4}; }
  UpstreamHold upstream_hold() const override { return {}; }
  void on_upstream_answer(UpstreamConnection&) override {}
  void on_upstream_lost(UpstreamConnection&, portcullis::session::LinkFailure, const std::string&) override {}
  void on_upstream_silent(UpstreamConnection&, bool) override {}
  void on_upstream_writable() override {}
  void on_upstream_granted(UpstreamConnection&) override {}
  void on_upstream_denied(portcullis::session::LinkFailure, const std::string&) override {}
  void on_upstream_wanted(UpstreamConnection&, bool) override {}
};

class Model {
 public:
  Model(std::size_t connections, std::size_t kept, std::size_t users, std::size_t queue)
      : connections_(connections),
        kept_(kept),
        users_(users),
        queue_(queue),
        shares_({connections, kept, users, queue}),
        held_(party_count) {}

  void ask(std::size_t party) {
    sessions_.push_back(std::make_unique<Session>());
    Session& session = *sessions_.back();
    session.party_number = party;
    check(shares_.may_take(session.party(), free()) == may_take(party, free()));
    if (may_take(party, free())) return take(session);
    const auto left = shares_.wait(session, session.party(), 0, false);
    waiting_.push_back(&session);
    check(left.has_value() == (waiting_.size() > queue_));
    if (left) {
      // Nobody loses a place to a party that has more of them.
      const auto gone = static_cast<const Session*>(left->client);
      check(places(gone->party_number) >= places(party) || gone == &session);
      std::erase(waiting_, gone);
    }
  }
  void give_back(std::size_t which) {
    if (holders_.empty()) return;
    which %= holders_.size();
    shares_.give_back(holders_[which].first);
    --held_[holders_[which].second];
    holders_.erase(holders_.begin() + static_cast<std::ptrdiff_t>(which));
    serve();
  }
  void cancel(std::size_t which) {
    if (waiting_.empty()) return;
    const Session* gone = waiting_[which % waiting_.size()];
    check(shares_.remove(*gone)->client == gone);
    check(!shares_.remove(*gone));
    std::erase(waiting_, gone);
  }
  void serve() {
    for (;;) {
      const Session* due = nullptr;
      for (const Session* session : waiting_) {
        if (!may_take(session->party_number, free())) continue;
        if (due == nullptr || held_[session->party_number] < held_[due->party_number]) due = session;
      }
      check((shares_.servable(free()) > 0) == (due != nullptr));
      const auto next = shares_.next(free());
      check((next ? next->client : nullptr) == due);
      if (!next) return;
      std::erase(waiting_, due);
      take(*due);
    }
  }
  void agree() {
    std::size_t all = 0;
    std::size_t known = 0;
    for (std::size_t party = 0; party < party_count; ++party) {
      all += held_[party];
      if (held_[party] > 0 || places(party) > 0) ++known;
    }
    check(shares_.held() == all && all <= connections_);
    check(shares_.waiting() == waiting_.size() && waiting_.size() <= queue_);
    check(shares_.parties() == known);
  }
  void end() {
    while (!holders_.empty()) give_back(0);
    check(waiting_.empty());  // with everything free the last one has been served
    check(shares_.parties() == 0 && shares_.held() == 0);
  }

 private:
  std::size_t free() const { return connections_ - holders_.size(); }
  std::size_t places(std::size_t party) const {
    return static_cast<std::size_t>(
        std::count_if(waiting_.begin(), waiting_.end(),
                      [&](const Session* session) { return session->party_number == party; }));
  }
  bool may_take(std::size_t party, std::size_t free) const {
    std::size_t by_users = held_[4] + held_[5];
    std::size_t unused = party >= 4 || by_users >= users_ ? 0 : users_ - by_users;
    if (free <= unused) return false;
    // Of `connections_` parts, `kept_` for each one held.
    return free - unused > (held_[party] * kept_ + connections_ - 1) / connections_;
  }
  void take(const Session& session) {
    holders_.emplace_back(shares_.hold(session.party()), session.party_number);
    ++held_[session.party_number];
  }

  std::size_t connections_, kept_, users_, queue_;
  UpstreamShares shares_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<const Session*> waiting_;
  std::vector<std::pair<UpstreamShares::Party*, std::size_t>> holders_;
  std::vector<std::size_t> held_;
};

void reclaim(const std::uint8_t* data, std::size_t size) {
  ReclaimPlan plan({}, now_ms);
  std::vector<std::size_t> held(party_count);
  std::vector<ReclaimPlan::Holder> holders;
  for (; size >= 4 && holders.size() < 50; data += 4, size -= 4) {
    ReclaimPlan::Holder holder;
    holder.party = data[0] % party_count;
    holder.has_session = (data[0] & 0x80) == 0;
    holder.asked_for = (data[0] & 0x40) != 0;
    holder.hold = {static_cast<UpstreamUse>(data[1] % 5), now_ms - data[2] * 100,
                   now_ms + 1'000 - data[3] * 100, (data[1] & 0x80) != 0};
    holders.push_back(holder);
    ++held[holder.party];
  }
  for (const std::size_t count : held) plan.add_party(count);
  for (const auto& holder : holders) plan.add_holder(holder);
  for (; size >= 2; data += 2, size -= 2) {
    const std::size_t party = data[0] % party_count;
    const bool capped = (data[0] & 0x80) != 0;
    const std::size_t before = plan.chosen().size();
    plan.take_for(party, now_ms - data[1] * 10, capped);
    if (plan.chosen().size() == before) continue;
    const Reclaim& chosen = plan.chosen().back();
    ReclaimPlan::Holder& holder = holders[chosen.holder];
    check(!holder.asked_for);
    check(!holder.has_session || holder.hold.use != UpstreamUse::ended);
    check(!capped || holder.party == party);
    check((chosen.reason == ReclaimReason::idle) ==
          (holder.has_session && holder.hold.use == UpstreamUse::idle));
    check((chosen.reason == ReclaimReason::unsettled) == !holder.has_session);
    if (chosen.reason == ReclaimReason::slow_client || chosen.reason == ReclaimReason::slow_server) {
      check(held[holder.party] >= held[party] + 2);
    }
    holder.asked_for = true;
    --held[holder.party];
    ++held[party];
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const std::size_t connections = 1 + data[0] % 50;
  Model model(connections, connections * (data[1] % 100) / 100, connections * (data[2] % 91) / 100,
              data[3] % 40);
  for (std::size_t i = 4; i < size && i < 2'000; ++i) {
    const std::size_t which = data[i] >> 3;
    switch (data[i] & 3) {
      case 0:
      case 1:
        model.ask((data[i] >> 2) % party_count);
        break;
      case 2:
        model.give_back(which);
        break;
      default:
        model.cancel(which);
        break;
    }
    model.agree();
  }
  model.end();
  reclaim(data, size);
  return 0;
}
