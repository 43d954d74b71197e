// What other threads ask of a loop: tasks, run by the loop's thread in their order.
//
// Shared with whoever may still have something to say when the loop is over: an answer of a directory comes
// when it comes. Then its task is dropped.
#pragma once

#include <uv.h>

#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace portcullis::net {

class Mailbox {
 public:
  using Tasks = std::vector<std::function<void()>>;

  // `bell` is rung for each task, until close(). The caller's async handle, already initialised.
  explicit Mailbox(uv_async_t& bell) : bell_(&bell) {}
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread. What the owner itself posts is for take_own() and rings no bell.
  void post(std::function<void()> task);

  // The owner: the thread that says so.
  void belongs_to_this_thread();
  Tasks take();
  Tasks take_own() { return std::exchange(own_, {}); }
  bool own_empty() const { return own_.empty(); }
  void close();  // before the bell is closed

 private:
  std::mutex mutex_;
  uv_async_t* bell_;  // null: closed
  Tasks tasks_;
  Tasks own_;
};

}  // namespace portcullis::net
