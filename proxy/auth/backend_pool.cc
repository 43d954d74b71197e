#include "proxy/auth/backend_pool.h"

#include <atomic>
#include <exception>
#include <string>
#include <utility>

namespace portcullis::auth {

namespace {

Answer failure(std::string detail) { return {Result::backend_error, {}, std::move(detail)}; }

}  // namespace

struct BackendPool::Call final : Workers::Task {
  std::shared_ptr<BackendPool> pool;
  Question question;
  Done done;
  Clock::time_point begun;
  bool trial = false;
  enum class By : std::uint8_t { nobody, worker, deadline, refusal };
  std::atomic<By> answered_by = By::nobody;

  // Whether the caller is the one to answer.
  bool claim_answer(By by) {
    By nobody = By::nobody;
    return answered_by.compare_exchange_strong(nobody, by);
  }

  void run() noexcept override;
  void refuse(Workers::Refusal why) noexcept override;
  bool overdue() noexcept override;
  void not_asked(NotAsked why, const char* text);
  void asked(Answer answer);
  void answer(Answer answer);
};

void BackendPool::Call::run() noexcept {
  if (!pool->may_still_ask(trial)) {
    if (!claim_answer(By::worker)) return;
    return not_asked(NotAsked::breaker_open, "not asked: it failed repeatedly a moment ago");
  }
  if (question.still_wanted && !question.still_wanted()) {
    if (!claim_answer(By::worker)) return;
    pool->forgo(trial);
    return answer({Result::blocked, {}, {}});
  }
  Answer given = pool->ask(*question.query, due);
  if (!claim_answer(By::worker)) return;  // overdue() was first
  asked(std::move(given));
}

bool BackendPool::Call::overdue() noexcept {
  if (!claim_answer(By::deadline)) return answered_by == By::deadline;
  asked(failure("no answer within the deadline"));
  return true;
}

void BackendPool::Call::refuse(Workers::Refusal why) noexcept {
  if (!claim_answer(By::refusal)) return;
  switch (why) {
    case Workers::Refusal::queue_full:
      return not_asked(NotAsked::queue_full, "not asked: too many requests waited");
    case Workers::Refusal::no_worker:
      return not_asked(NotAsked::no_worker, "not asked: no worker was free in time");
    case Workers::Refusal::stopping:
      pool->forgo(trial);
      return answer(failure("shutting down"));
  }
}

void BackendPool::Call::not_asked(NotAsked why, const char* text) {
  pool->forgo(trial);
  if (pool->events_.not_asked) pool->events_.not_asked(why);
  answer(failure(text));
}

void BackendPool::Call::asked(Answer given) {
  if (pool->events_.called) {
    pool->events_.called({pool->backend().kind(), given.result, Clock::now() - begun});
  }
  pool->record(given.result != Result::backend_error || given.is_of_login);
  answer(std::move(given));
}

void BackendPool::Call::answer(Answer given) {
  const Done tell = std::exchange(done, nullptr);
  tell(std::move(given));
}

BackendPool::BackendPool(std::unique_ptr<Backend> backend, const BackendLimits& limits, Events events,
                         std::shared_ptr<Workers> workers)
    : backend_(std::move(backend)),
      limits_(limits),
      events_(std::move(events)),
      workers_(std::move(workers)),
      breaker_(limits.breaker_failures, std::chrono::seconds(limits.breaker_seconds)) {}

BackendPool::~BackendPool() = default;

void BackendPool::submit(Question question, Done done) {
  const auto now = Clock::now();
  Breaker::Pass pass = Breaker::Pass::no;
  {
    const std::scoped_lock guard(lock_);
    pass = breaker_.allow(now);
  }
  if (pass == Breaker::Pass::no) {
    if (events_.not_asked) events_.not_asked(NotAsked::breaker_open);
    return done(failure("not asked: it failed repeatedly a moment ago"));
  }
  auto call = std::make_shared<Call>();
  call->pool = shared_from_this();
  call->claim = question.claim;
  call->question = std::move(question);
  call->done = std::move(done);
  call->begun = now;
  call->trial = pass == Breaker::Pass::trial;
  const std::chrono::milliseconds patience(limits_.deadline_ms);
  call->start_by = now + patience / 2;
  call->due = now + patience;
  workers_->submit(backend_->kind(), std::move(call), limits_.waiting_max);
}

bool BackendPool::may_still_ask(bool trial) const {
  const std::scoped_lock guard(lock_);
  return trial || breaker_.closed();
}

void BackendPool::forgo(bool trial) {
  if (!trial) return;
  const std::scoped_lock guard(lock_);
  breaker_.forgo();
}

void BackendPool::record(bool answered) {
  Breaker::Change change = Breaker::Change::none;
  {
    const std::scoped_lock guard(lock_);
    change = breaker_.record(answered, Clock::now());
  }
  if (change != Breaker::Change::none && events_.state) events_.state(change == Breaker::Change::closed);
}

std::unique_ptr<Asker> BackendPool::take_asker() {
  {
    const std::scoped_lock guard(lock_);
    if (!idle_.empty()) {
      auto asker = std::move(idle_.back());
      idle_.pop_back();
      return asker;
    }
  }
  return backend_->asker();
}

Answer BackendPool::ask(const Query& query, Deadline deadline) {
  try {
    auto asker = take_asker();
    Answer answer = asker->ask(query, deadline);
    const std::scoped_lock guard(lock_);
    idle_.push_back(std::move(asker));
    return answer;
  } catch (const std::exception& error) {  // the asker is dropped: its connection may be in any state
    return failure(error.what());
  }
}

}  // namespace portcullis::auth
