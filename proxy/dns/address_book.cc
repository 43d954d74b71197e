#include "proxy/dns/address_book.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace portcullis::dns {

namespace {

using Found = std::expected<std::vector<Address>, std::string>;

Found ask_system(const std::string& host, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* raw = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &raw); code != 0) {
    return std::unexpected(code == EAI_SYSTEM ? std::generic_category().message(errno)
                                              : ::gai_strerror(code));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> all(raw, ::freeaddrinfo);
  std::vector<Address> found;
  for (const addrinfo* each = raw; each != nullptr; each = each->ai_next) {
    if (each->ai_addrlen > sizeof(Address)) continue;
    Address& address = found.emplace_back();
    std::memcpy(&address, each->ai_addr, each->ai_addrlen);
  }
  if (found.empty()) return std::unexpected("it has no address");
  return found;
}

Found look_up(const std::string& host) { return ask_system(host, AI_ADDRCONFIG); }

bool same(const Address& a, const Address& b) {
  if (a.ss_family != b.ss_family) return false;
  if (a.ss_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(a).sin_addr.s_addr ==  // NOLINT: sockets API
           reinterpret_cast<const sockaddr_in&>(b).sin_addr.s_addr;    // NOLINT
  }
  const auto& left = reinterpret_cast<const sockaddr_in6&>(a);   // NOLINT
  const auto& right = reinterpret_cast<const sockaddr_in6&>(b);  // NOLINT
  return IN6_ARE_ADDR_EQUAL(&left.sin6_addr, &right.sin6_addr) && left.sin6_scope_id == right.sin6_scope_id;
}

}  // namespace

struct AddressBook::State {
  struct Known {
    Address address;
    Clock::time_point rests_until;
  };
  struct Entry {
    std::vector<Known> addresses;   // the last good answer, in its order
    Clock::time_point good_at;      // when that came
    Clock::time_point answered_at;  // the last look-up ended
    Clock::time_point used_at;
    std::string error;  // of the last look-up, empty if it succeeded
    bool answered = false;
    bool under_way = false;
  };

  std::mutex mutex;
  std::condition_variable changed;
  Lookup lookup;
  std::function<Clock::time_point()> now;
  std::map<std::string, Entry> entries;
  std::deque<std::string> queue;  // to be looked up
  std::size_t threads = 0;

  Entry& use(const std::string& host);
  bool due(const Entry& entry) const;
  void enqueue(const std::string& host, Entry& entry);
  void store(const std::string& host, Found found);
  Answer answer(const Entry& entry) const;
  Known* known(const std::string& host, const Address& address);
};

AddressBook::State::Entry& AddressBook::State::use(const std::string& host) {
  const auto at = now();
  if (!entries.contains(host)) {
    // Names of configurations that are no longer in use.
    std::erase_if(entries, [&](const auto& each) {
      return !each.second.under_way && at - each.second.used_at > stale_max;
    });
  }
  Entry& entry = entries[host];
  entry.used_at = at;
  if (!entry.error.empty() && at - entry.good_at > stale_max) entry.addresses.clear();
  return entry;
}

bool AddressBook::State::due(const Entry& entry) const {
  if (entry.under_way) return false;
  return !entry.answered ||
         now() - entry.answered_at >= (entry.error.empty() ? Clock::duration(fresh) : Clock::duration(retry));
}

void AddressBook::State::enqueue(const std::string& host, Entry& entry) {
  entry.under_way = true;
  queue.push_back(host);
}

void AddressBook::State::store(const std::string& host, Found found) {
  Entry& entry = entries[host];
  entry.under_way = false;
  entry.answered = true;
  entry.answered_at = now();
  entry.error.clear();
  if (!found) {
    entry.error = std::move(found.error());
  } else {
    const std::vector<Known> before = std::exchange(entry.addresses, {});
    for (const Address& address : *found) {
      const auto old = std::ranges::find_if(before, [&](const Known& k) { return same(k.address, address); });
      entry.addresses.push_back({address, old == before.end() ? Clock::time_point() : old->rests_until});
    }
    entry.good_at = entry.answered_at;
  }
  changed.notify_all();
}

AddressBook::Answer AddressBook::State::answer(const Entry& entry) const {
  Answer out;
  const auto at = now();
  for (const Known& known : entry.addresses) {
    if (known.rests_until <= at) out.addresses.push_back(known.address);
  }
  out.preferred = out.addresses.size();
  for (const Known& known : entry.addresses) {
    if (known.rests_until > at) out.addresses.push_back(known.address);
  }
  if (out.addresses.empty() && !entry.under_way) out.error = entry.error;
  return out;
}

AddressBook::State::Known* AddressBook::State::known(const std::string& host, const Address& address) {
  const auto entry = entries.find(host);
  if (entry == entries.end()) return nullptr;
  const auto found =
      std::ranges::find_if(entry->second.addresses, [&](const Known& k) { return same(k.address, address); });
  return found == entry->second.addresses.end() ? nullptr : &*found;
}

AddressBook::AddressBook() : AddressBook(look_up) {}

AddressBook::AddressBook(Lookup lookup, std::function<Clock::time_point()> now)
    : state_(std::make_shared<State>()) {
  state_->lookup = std::move(lookup);
  state_->now = std::move(now);
}

// Threads that still wait for the resolver keep the state, and end by themselves.
AddressBook::~AddressBook() = default;

void AddressBook::work(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (!state->queue.empty()) {
    const std::string host = std::move(state->queue.front());
    state->queue.pop_front();
    lock.unlock();
    Found found = state->lookup(host);
    lock.lock();
    state->store(host, std::move(found));
  }
  --state->threads;
}

// Called with the lock held.
void AddressBook::start_thread() {
  State& state = *state_;
  if (state.queue.empty() || state.threads >= lookups_max) return;
  ++state.threads;
  try {
    std::thread thread([kept = state_] {
      pthread_setname_np(pthread_self(), "resolver");
      work(kept);
    });
    thread.detach();
  } catch (const std::system_error& error) {
    --state.threads;
    if (state.threads > 0) return;  // the others do it
    for (const std::string& host : std::exchange(state.queue, {})) {
      state.store(host, std::unexpected(std::string("no thread to look it up: ") + error.what()));
    }
  }
}

AddressBook::Answer AddressBook::find(const std::string& host) {
  if (auto numeric = ask_system(host, AI_NUMERICHOST)) return {*numeric, numeric->size(), {}};
  const std::scoped_lock lock(state_->mutex);
  State::Entry& entry = state_->use(host);
  if (state_->due(entry)) {
    state_->enqueue(host, entry);
    start_thread();
  }
  return state_->answer(entry);
}

AddressBook::Answer AddressBook::wait(const std::string& host, Clock::time_point deadline) {
  Answer answer = find(host);
  if (!answer.addresses.empty() || !answer.error.empty()) return answer;
  std::unique_lock lock(state_->mutex);
  const bool answered =
      state_->changed.wait_until(lock, deadline, [&] { return !state_->entries[host].under_way; });
  answer = state_->answer(state_->entries[host]);
  if (!answered) answer.error = "the resolver does not answer";
  return answer;
}

void AddressBook::failed(const std::string& host, const Address& address) {
  const std::scoped_lock lock(state_->mutex);
  if (auto* known = state_->known(host, address)) known->rests_until = state_->now() + address_rests;
}

void AddressBook::succeeded(const std::string& host, const Address& address) {
  const std::scoped_lock lock(state_->mutex);
  if (auto* known = state_->known(host, address)) known->rests_until = {};
}

AddressBook& addresses() {
  static AddressBook book;
  return book;
}

Address with_port(Address address, std::uint16_t port) {
  if (address.ss_family == AF_INET) {
    reinterpret_cast<sockaddr_in&>(address).sin_port = htons(port);  // NOLINT: sockets API
  } else {
    reinterpret_cast<sockaddr_in6&>(address).sin6_port = htons(port);  // NOLINT
  }
  return address;
}

socklen_t length_of(const Address& address) {
  return address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

}  // namespace portcullis::dns
