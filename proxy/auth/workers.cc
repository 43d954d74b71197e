#include "proxy/auth/workers.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/auth/backend.h"

namespace portcullis::auth {

namespace {

using TaskPtr = std::shared_ptr<Workers::Task>;

constexpr std::size_t kinds = 3;
constexpr auto deadline_tick = std::chrono::milliseconds(50);
constexpr auto look_every = std::chrono::seconds(1);
constexpr auto stop_patience = std::chrono::milliseconds(200);

// The threads of one kind of backend and what waits for them.
struct Lane {
  std::mutex lock;
  std::condition_variable work;   // a task may be taken, or a thread is surplus
  std::condition_variable quiet;  // a task or a thread ended
  FairQueue<TaskPtr> queue;
  std::map<const Workers::Task*, TaskPtr> running;
  std::size_t threads = 0;
  std::size_t wanted = 0;
  bool stopping = false;

  void work_loop();
  void expire(Workers::Clock::time_point now);
  bool busy() {
    const std::scoped_lock guard(lock);
    return queue.size() != 0 || !running.empty();
  }
};

void Lane::work_loop() {
  std::unique_lock guard(lock);
  for (;;) {
    std::optional<FairQueue<TaskPtr>::Taken> taken;
    work.wait(guard, [&] {
      if (stopping || threads > wanted) return true;
      taken = queue.take();
      return taken.has_value();
    });
    if (!taken) break;
    Workers::Task* const task = taken->item.get();
    running.emplace(task, taken->item);
    guard.unlock();
    task->run();
    taken->item.reset();
    TaskPtr last;  // what it holds goes without the lock
    guard.lock();
    const auto found = running.find(task);
    last = std::move(found->second);
    running.erase(found);
    queue.done(taken->claim);
    guard.unlock();
    last.reset();
    // Whom this task's network or login kept waiting may go now.
    work.notify_all();
    quiet.notify_all();
    guard.lock();
  }
  --threads;
  quiet.notify_all();
}

void Lane::expire(Workers::Clock::time_point now) {
  std::vector<TaskPtr> waited, late;
  {
    const std::scoped_lock guard(lock);
    waited = queue.remove_if([&](const TaskPtr& task) { return task->start_by <= now; });
    for (const auto& [raw, task] : running) {
      if (task->due <= now) late.push_back(task);
    }
  }
  for (const TaskPtr& task : waited) task->refuse(Workers::Refusal::no_worker);
  for (const TaskPtr& task : late) task->overdue();
}

void name_thread(const char* name) { ::pthread_setname_np(::pthread_self(), name); }

}  // namespace

struct Workers::Core {
  struct Watched {
    std::weak_ptr<void> owner;
    std::function<void()> look;
  };
  std::array<Lane, kinds> lanes;
  std::mutex lock;
  std::condition_variable wake;   // the deadlines: something was submitted, or stopping
  std::condition_variable looks;  // the looker: stopping
  std::vector<Watched> watched;
  bool watches_deadlines = false;  // there is a thread that does
  bool looks_at_files = false;
  bool active = false;  // something may wait or run
  bool stopping = false;
  bool stuck = false;

  Lane& lane(BackendKind kind) { return lanes[static_cast<std::size_t>(kind)]; }
  void deadline_loop();
  void look_loop();
};

void Workers::Core::deadline_loop() {
  name_thread("auth-deadlines");
  std::unique_lock guard(lock);
  while (!stopping) {
    if (!active) {
      wake.wait(guard);
      continue;
    }
    wake.wait_for(guard, deadline_tick);
    active = false;
    guard.unlock();
    bool any = false;
    for (Lane& lane : lanes) {
      lane.expire(Clock::now());
      any = lane.busy() || any;
    }
    guard.lock();
    active = active || any;
  }
  watches_deadlines = false;
  looks.notify_all();
}

void Workers::Core::look_loop() {
  name_thread("auth-files");
  std::unique_lock guard(lock);
  while (!looks.wait_for(guard, look_every, [this] { return stopping; })) {
    const std::vector<Watched> all = watched;
    guard.unlock();
    for (const Watched& each : all) {
      if (const auto owner = each.owner.lock()) each.look();
    }
    guard.lock();
    std::erase_if(watched, [](const Watched& each) { return each.owner.expired(); });
  }
  looks_at_files = false;
  looks.notify_all();
}

Workers::Workers() : core_(std::make_shared<Core>()) {}
Workers::~Workers() { stop(); }

std::expected<void, std::string> Workers::reserve(BackendKind kind, std::size_t count) {
  Lane& lane = core_->lane(kind);
  std::size_t before = 0;
  {
    const std::scoped_lock guard(lane.lock);
    before = lane.wanted;
    lane.wanted = std::max(lane.wanted, count);
  }
  try {
    {
      const std::scoped_lock guard(core_->lock);
      if (!core_->watches_deadlines) std::thread([core = core_] { core->deadline_loop(); }).detach();
      core_->watches_deadlines = true;
      if (!core_->looks_at_files) std::thread([core = core_] { core->look_loop(); }).detach();
      core_->looks_at_files = true;
    }
    const std::scoped_lock guard(lane.lock);
    while (lane.threads < lane.wanted) {
      std::thread([core = core_, kind] {
        name_thread(("auth-" + std::string(backend_name(kind))).c_str());
        core->lane(kind).work_loop();
      }).detach();
      ++lane.threads;
    }
  } catch (const std::system_error& error) {
    const std::scoped_lock guard(lane.lock);
    lane.wanted = before;
    lane.work.notify_all();
    return std::unexpected("no thread for the " + std::string(backend_name(kind)) +
                           " backend can be started: " + error.code().message());
  }
  return {};
}

void Workers::use(BackendKind kind, std::size_t count) {
  Lane& lane = core_->lane(kind);
  const std::scoped_lock guard(lane.lock);
  lane.wanted = count;
  lane.queue.set_workers(count);
  lane.work.notify_all();
}

std::size_t Workers::threads() const {
  std::size_t sum = 0;
  for (Lane& lane : core_->lanes) {
    const std::scoped_lock guard(lane.lock);
    sum += lane.threads;
  }
  return sum;
}

void Workers::submit(BackendKind kind, std::shared_ptr<Task> task, std::size_t waiting_max) {
  Lane& lane = core_->lane(kind);
  std::optional<TaskPtr> refused;
  auto why = Refusal::queue_full;
  {
    const std::scoped_lock guard(lane.lock);
    if (lane.stopping) {
      refused = std::move(task);
      why = Refusal::stopping;
    } else {
      Claim claim = task->claim;
      refused = lane.queue.push(std::move(claim), std::move(task), waiting_max);
      lane.work.notify_one();
    }
  }
  {
    const std::scoped_lock guard(core_->lock);
    if (!std::exchange(core_->active, true)) core_->wake.notify_one();
  }
  if (refused) (*refused)->refuse(why);
}

void Workers::watch(std::weak_ptr<void> owner, std::function<void()> look) {
  const std::scoped_lock guard(core_->lock);
  core_->watched.push_back({std::move(owner), std::move(look)});
}

void Workers::stop() {
  {
    const std::scoped_lock guard(core_->lock);
    core_->stopping = true;
    core_->wake.notify_all();
    core_->looks.notify_all();
  }
  {
    // It never blocks, but may be inside a callback.
    std::unique_lock guard(core_->lock);
    core_->looks.wait(guard, [&] { return !core_->watches_deadlines; });
  }
  for (Lane& lane : core_->lanes) {
    std::vector<TaskPtr> waiting, under_way;
    {
      const std::scoped_lock guard(lane.lock);
      lane.stopping = true;
      waiting = lane.queue.remove_if([](const TaskPtr&) { return true; });
      for (const auto& [raw, task] : lane.running) under_way.push_back(task);
      lane.work.notify_all();
    }
    for (const TaskPtr& task : waiting) task->refuse(Refusal::stopping);
    for (const TaskPtr& task : under_way) {
      if (task->overdue()) continue;
      std::unique_lock guard(lane.lock);
      lane.quiet.wait(guard, [&] { return !lane.running.contains(task.get()); });
    }
  }
  const auto until = Clock::now() + stop_patience;
  bool all = true;
  for (Lane& lane : core_->lanes) {
    std::unique_lock guard(lane.lock);
    all = lane.quiet.wait_until(guard, until, [&] { return lane.threads == 0; }) && all;
  }
  std::unique_lock guard(core_->lock);
  all = core_->looks.wait_until(guard, until, [&] { return !core_->looks_at_files; }) && all;
  core_->stuck = !all;
}

bool Workers::stuck() const {
  const std::scoped_lock guard(core_->lock);
  return core_->stuck;
}

}  // namespace portcullis::auth
