// Addresses of the servers that the configuration names, kept so that DNS is not on the path of mail or
// logins.
//
// A name is looked up by threads of the book's own: libuv has four threads for the whole process, and a
// resolver that does not answer holds each of them for ten seconds and more. An answer is used at once for as
// long as there is none better: after `fresh` the name is looked up again in the background, and while that
// fails the last good answer stays in use for up to a day (RFC 8767). An address that a connection failed to
// is given last for a while, so that not every connection has to find out again.
//
// Thread-safe. Who could take all of it: names come from the configuration only, each is looked up by one
// thread at a time, and a name whose resolver hangs holds one of `lookups_max` threads; the others serve
// other names. Threads end when there is nothing to look up; none of them keeps the process from ending.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace portcullis::dns {

// An address without a port.
using Address = sockaddr_storage;

class AddressBook {
 public:
  using Clock = std::chrono::steady_clock;
  // Blocks until there is an answer. Called by several threads.
  using Lookup = std::function<std::expected<std::vector<Address>, std::string>(const std::string& host)>;

  static constexpr std::size_t lookups_max = 8;             // at the same time
  static constexpr std::chrono::seconds fresh{30};          // before a good answer is asked for again
  static constexpr std::chrono::seconds retry{5};           // after a look-up that failed
  static constexpr std::chrono::hours stale_max{24};        // of the last good answer
  static constexpr std::chrono::seconds address_rests{30};  // after failed()

  AddressBook();
  explicit AddressBook(Lookup lookup, std::function<Clock::time_point()> now = Clock::now);
  ~AddressBook();
  AddressBook(const AddressBook&) = delete;
  AddressBook& operator=(const AddressBook&) = delete;

  // What is known of a host at the moment. `addresses` is empty while nothing is known; then `error` says
  // why, or is empty while the first look-up is under way: ask again.
  struct Answer {
    std::vector<Address> addresses;
    std::size_t preferred = 0;  // how many of them, from the front, have not failed lately
    std::string error;
    bool pending() const { return addresses.empty() && error.empty(); }
  };
  // Never blocks. Starts a look-up where one is due. A numeric address is its own answer.
  Answer find(const std::string& host);
  // As find(), but waits for the first answer until the deadline.
  Answer wait(const std::string& host, Clock::time_point deadline);
  // A connection to the address failed, or the server said nothing.
  void failed(const std::string& host, const Address& address);
  void succeeded(const std::string& host, const Address& address);

 private:
  struct State;
  static void work(const std::shared_ptr<State>& state);
  void start_thread();
  std::shared_ptr<State> state_;
};

// The book of the process.
AddressBook& addresses();

// `address` with the port, ready for connect().
Address with_port(Address address, std::uint16_t port);
socklen_t length_of(const Address& address);

}  // namespace portcullis::dns
