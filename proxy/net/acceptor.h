// One listening socket on one loop. Accepts by an own poll instead of uv_listen: at most `most_a_turn`
// connections a turn of the loop, so that a flood of them leaves time for everything else, and a pause when
// the system has no descriptor or memory left. (libuv 1.44 keeps one spare descriptor for that case. Two
// loops can take it from each other, and then its accept loop never returns.)
//
//   auto acceptor = Acceptor::listen(loop, fd, host);   // the acceptor owns fd, also when this fails
//   acceptor->reset();                                  // stops listening; outside of host's calls or inside
#pragma once

#include <sys/socket.h>
#include <uv.h>

#include <expected>
#include <memory>
#include <string>

namespace portcullis::net {

class Acceptor {
 public:
  class Host {
   public:
    // A connection: `fd` is the host's from now on, non-blocking and closed on exec.
    virtual void on_accepted(Acceptor& acceptor, int fd, const sockaddr_storage& peer) noexcept = 0;
    // accept4 failed for want of descriptors or memory (`error` is an errno); the acceptor pauses.
    virtual void on_accept_pause(Acceptor& acceptor, int error) noexcept = 0;

   protected:
    ~Host() = default;
  };

  static constexpr int most_a_turn = 16;
  static constexpr std::uint64_t pause_ms = 100;

  // Of what accept4 reports: go on with the next connection, wait for the poll, or pause (accept(2)).
  enum class Then { next, wait, pause };
  static Then after(int error);

  static std::expected<std::unique_ptr<Acceptor>, std::string> listen(uv_loop_t& loop, int fd, Host& host);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  int descriptor() const;

 private:
  struct Handle;
  explicit Acceptor(Handle* handle) : handle_(handle) {}
  Handle* handle_;  // outlives this object until libuv has closed it
};

}  // namespace portcullis::net
