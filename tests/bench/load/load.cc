#include "tests/bench/load/load.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>
#include <unordered_map>
#include <vector>

namespace portcullis::bench {

namespace {

constexpr int tick_ms = 100;

class Loop {
 public:
  explicit Loop(Plan& plan) : plan_(plan), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  }
  ~Loop() { close(epoll_); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void run();

 private:
  void begin_sessions();
  bool may_begin() const;
  int wait_ms() const;
  bool all_held() const;
  void hold();

  Plan& plan_;
  int epoll_;
  std::unordered_map<Client*, std::unique_ptr<Client>> open_;
  std::size_t begun_ = 0;
  Clock::time_point started_ = Clock::now();
};

bool Loop::may_begin() const {
  const Options& options = plan_.options;
  if (begun_ == options.sessions || open_.size() >= options.parallel) return false;
  if (options.sessions_per_second <= 0) return true;
  const double due = static_cast<double>(begun_) / options.sessions_per_second;
  return std::chrono::duration<double>(Clock::now() - started_).count() >= due;
}

int Loop::wait_ms() const {
  const Options& options = plan_.options;
  if (options.sessions_per_second <= 0 || begun_ == options.sessions) return tick_ms;
  return std::max(1, static_cast<int>(500 / options.sessions_per_second));
}

void Loop::begin_sessions() {
  while (may_begin()) {
    ++begun_;
    auto client = std::make_unique<Client>(plan_);
    if (!client->connect()) continue;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.ptr = client.get();
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, client->fd(), &event) != 0) {
      throw std::system_error(errno, std::generic_category(), "epoll_ctl");
    }
    open_.emplace(client.get(), std::move(client));
  }
}

bool Loop::all_held() const {
  return begun_ == plan_.options.sessions &&
         std::all_of(open_.begin(), open_.end(), [](const auto& entry) { return entry.second->holding(); });
}

// Blocks: nothing is expected of idle sessions meanwhile.
void Loop::hold() {
  (void)std::printf("holding %zu\n", open_.size());
  (void)std::fflush(stdout);
  std::array<char, 256> ignored{};
  while (::read(STDIN_FILENO, ignored.data(), ignored.size()) > 0) {
  }
  std::vector<Client*> ended;
  for (const auto& [client, owned] : open_) {
    client->release();
    client->progress();
    if (client->finished()) ended.push_back(client);
  }
  for (Client* const client : ended) open_.erase(client);
}

void Loop::run() {
  std::array<epoll_event, 256> events;
  Clock::time_point last_progress = Clock::now();
  bool held = !plan_.options.hold;
  for (begin_sessions(); !open_.empty() || begun_ < plan_.options.sessions; begin_sessions()) {
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait_ms());
    if (count > 0) last_progress = Clock::now();
    for (int i = 0; i < count; ++i) {
      auto* const client = static_cast<Client*>(events[static_cast<std::size_t>(i)].data.ptr);
      client->progress();
      if (client->finished()) open_.erase(client);
    }
    if (!held && all_held()) {
      held = true;
      hold();
      last_progress = Clock::now();
    }
    const std::chrono::duration<double> silence = Clock::now() - last_progress;
    if (silence.count() > plan_.options.patience_seconds) {
      for (const auto& [client, owned] : open_) client->give_up("no_progress");
      open_.clear();
      return;
    }
  }
}

}  // namespace

void run(Plan& plan) {
  const Clock::time_point start = Clock::now();
  plan.result.messages_planned = plan.options.sessions * plan.options.messages;
  Loop(plan).run();
  plan.result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace portcullis::bench
