#include "proxy/net/mailbox.h"

#include "proxy/net/uv_calls.h"

namespace portcullis::net {

namespace {

// The one whose owner this thread is.
thread_local const Mailbox* own_mailbox = nullptr;

}  // namespace

void Mailbox::belongs_to_this_thread() { own_mailbox = this; }

void Mailbox::post(std::function<void()> task) {
  if (own_mailbox == this) {
    own_.push_back(std::move(task));
    return;
  }
  const std::lock_guard lock(mutex_);
  if (bell_ == nullptr) return;
  tasks_.push_back(std::move(task));
  uv::ring(*bell_);
}

Mailbox::Tasks Mailbox::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(tasks_, {});
}

void Mailbox::close() {
  const std::lock_guard lock(mutex_);
  bell_ = nullptr;
}

}  // namespace portcullis::net
