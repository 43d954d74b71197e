#include "proxy/auth/backend_pool.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/auth/breaker.h"

namespace portcullis::auth {

namespace {

struct Call {
  std::uint64_t number = 0;
  std::shared_ptr<const Query> query;  // dropped when answered: secrets do not linger
  BackendPool::Done done;
  Clock::time_point begun;
  Deadline deadline;
  bool answered = false;
};

Answer failure(std::string detail) { return {Result::backend_error, {}, std::move(detail)}; }

}  // namespace

struct BackendPool::State {
  State(std::unique_ptr<Backend> b, const BackendLimits& l, Events e)
      : backend(std::move(b)),
        limits(l),
        events(std::move(e)),
        breaker(l.breaker_failures, std::chrono::seconds(l.breaker_seconds)) {}

  std::unique_ptr<Backend> backend;
  BackendLimits limits;
  Events events;

  std::mutex lock;
  std::condition_variable work;       // queue has something, or stopping
  std::condition_variable deadlines;  // a first call came, or stopping
  std::condition_variable quiet;      // something ended: join() looks again
  Breaker breaker;
  std::deque<std::shared_ptr<Call>> queue;
  std::map<std::uint64_t, std::shared_ptr<Call>> unanswered;  // in order of number and so of deadline
  std::uint64_t next_number = 0;
  std::size_t callbacks_running = 0;
  std::size_t threads_running = 0;
  bool stopping = false;
  bool joined = false;
  std::vector<std::thread> threads;

  void finish(const std::shared_ptr<Call>& call, Answer answer);
  void work_loop();
  void deadline_loop();
  void thread_ended();
};

void BackendPool::State::finish(const std::shared_ptr<Call>& call, Answer answer) {
  Done done;
  Breaker::Change change = Breaker::Change::none;
  const auto now = Clock::now();
  {
    const std::scoped_lock guard(lock);
    if (call->answered) return;
    call->answered = true;
    call->query.reset();
    done = std::move(call->done);
    unanswered.erase(call->number);
    std::erase(queue, call);
    if (!stopping) change = breaker.record(answer.result != Result::backend_error || answer.is_of_login, now);
    ++callbacks_running;
  }
  if (events.called) events.called({backend->kind(), answer.result, now - call->begun});
  if (change != Breaker::Change::none && events.state) events.state(change == Breaker::Change::closed);
  done(std::move(answer));
  done = nullptr;  // what it captured goes before join() may return
  const std::scoped_lock guard(lock);
  --callbacks_running;
  quiet.notify_all();
}

void BackendPool::State::work_loop() {
  std::unique_ptr<Asker> asker;
  for (;;) {
    std::shared_ptr<Call> call;
    std::shared_ptr<const Query> query;
    {
      std::unique_lock guard(lock);
      work.wait(guard, [&] { return stopping || !queue.empty(); });
      if (queue.empty()) return;
      call = std::move(queue.front());
      queue.pop_front();
      query = call->query;
    }
    if (!query) continue;
    Answer answer;
    try {
      if (!asker) asker = backend->asker();
      answer = asker->ask(*query, call->deadline);
    } catch (const std::exception& error) {
      answer = failure(error.what());
      asker.reset();
    }
    query.reset();
    finish(call, std::move(answer));
  }
}

void BackendPool::State::deadline_loop() {
  std::unique_lock guard(lock);
  while (!joined) {
    if (unanswered.empty()) {
      deadlines.wait(guard);
      continue;
    }
    const std::shared_ptr<Call> first = unanswered.begin()->second;
    if (Clock::now() < first->deadline) {
      deadlines.wait_until(guard, first->deadline);
      continue;
    }
    guard.unlock();
    finish(first, failure("no answer within the deadline"));
    guard.lock();
  }
}

void BackendPool::State::thread_ended() {
  const std::scoped_lock guard(lock);
  --threads_running;
  quiet.notify_all();
}

BackendPool::BackendPool(std::unique_ptr<Backend> backend, const BackendLimits& limits, Events events)
    : state_(std::make_shared<State>(std::move(backend), limits, std::move(events))) {
  const std::size_t workers = std::max<std::size_t>(1, limits.connections_max);
  state_->threads_running = workers + 1;
  for (std::size_t i = 0; i < workers; ++i) {
    state_->threads.emplace_back([state = state_] {
      state->work_loop();
      state->thread_ended();
    });
  }
  state_->threads.emplace_back([state = state_] {
    state->deadline_loop();
    state->thread_ended();
  });
}

BackendPool::~BackendPool() {
  stop();
  join();
}

void BackendPool::submit(std::shared_ptr<const Query> query, Done done) {
  std::string refusal;
  {
    State& state = *state_;
    const std::scoped_lock guard(state.lock);
    const auto now = Clock::now();
    if (state.stopping) {
      refusal = "shutting down";
    } else if (state.queue.size() >= state.limits.waiting_max) {
      refusal = "too many requests waiting";
    } else if (!state.breaker.allow(now)) {
      refusal = "not asked: it failed repeatedly a moment ago";
    } else {
      auto call = std::make_shared<Call>();
      call->number = state.next_number++;
      call->query = std::move(query);
      call->done = std::move(done);
      call->begun = now;
      call->deadline = now + std::chrono::milliseconds(state.limits.deadline_ms);
      state.unanswered.emplace(call->number, call);
      state.queue.push_back(std::move(call));
      state.work.notify_one();
      if (state.unanswered.size() == 1) state.deadlines.notify_one();
      return;
    }
  }
  done(failure(std::move(refusal)));
}

void BackendPool::stop() {
  std::deque<std::shared_ptr<Call>> queued;
  {
    const std::scoped_lock guard(state_->lock);
    state_->stopping = true;
    queued.swap(state_->queue);
    state_->work.notify_all();
  }
  for (const auto& call : queued) state_->finish(call, failure("shutting down"));
}

void BackendPool::join() {
  State& state = *state_;
  std::unique_lock guard(state.lock);
  if (state.joined) return;
  state.quiet.wait(guard, [&] { return state.unanswered.empty() && state.callbacks_running == 0; });
  state.joined = true;
  state.deadlines.notify_all();
  // Threads that are still inside the backend now overran their deadline: they keep the state alive
  // and end by themselves. All others are about to end.
  const bool all =
      state.quiet.wait_for(guard, std::chrono::milliseconds(200), [&] { return state.threads_running == 0; });
  guard.unlock();
  for (std::thread& thread : state.threads) {
    if (all) {
      thread.join();
    } else {
      thread.detach();
    }
  }
}

Backend& BackendPool::backend() { return *state_->backend; }

}  // namespace portcullis::auth
