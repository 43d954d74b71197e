// A listening socket of a worker; for worker.cc and worker_accept.cc alone.
#pragma once

#include <memory>
#include <string>

#include "proxy/net/worker.h"

namespace portcullis::net {

struct Worker::Listening final : Acceptor::Host {
  Listening(Worker& of, const BoundSocket& socket) : worker(of), listener(socket.listener), key(socket.key) {}

  void on_accepted(Acceptor&, int fd, const sockaddr_storage& peer) noexcept override {
    worker.on_connection(listener, fd, peer);
  }
  void on_accept_pause(Acceptor&, int error) noexcept override { worker.on_accept_pause(listener, error); }

  Worker& worker;
  std::size_t listener;
  std::string key;
  std::unique_ptr<Acceptor> acceptor;
};

}  // namespace portcullis::net
