#include "metrics/journal.h"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

#include "metrics/event_repeats.h"
#include "metrics/journal_sink.h"

namespace portcullis::metrics {
namespace {

using namespace std::chrono_literals;

// How long the writer lets lines gather: one write(2) and one wake-up for many records.
constexpr auto linger = 5ms;
constexpr auto repeats_interval = 1s;  // how often it is looked whether a repetition is to be summed up
constexpr auto flush_patience = std::chrono::seconds(JournalSink::stop_grace_seconds);

// syslog(3): the severity of the record, facility mail. systemd takes the facility from the unit
// (sd-daemon(3)).
std::string_view syslog_priority(EventRecord::Level level, bool facility) {
  switch (level) {
    case EventRecord::Level::debug:
      return facility ? "<23>" : "<7>";
    case EventRecord::Level::info:
      return facility ? "<22>" : "<6>";
    case EventRecord::Level::warning:
      return facility ? "<20>" : "<4>";
    case EventRecord::Level::error:
      break;
  }
  return facility ? "<19>" : "<3>";
}

// The writer must neither take the process's signals nor die of SIGPIPE.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

struct Journal::Impl {
  explicit Impl(JournalSettings s) : settings(std::move(s)), sink(settings, stopping) {
    const SignalsBlocked blocked;
    writer = std::thread([this] { run(); });
  }
  ~Impl() {
    {
      const std::scoped_lock lock(mutex);
      stopping = true;
    }
    work.notify_one();
    writer.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  template <typename Record>
  void write(const Record& record, EventRecord::Level level);
  void write_event(EventRecord::Level level, std::string event,
                   std::vector<std::pair<std::string, std::string>> fields, std::string message);
  void enqueue(std::string_view line);
  void put(std::string_view batch, bool reopen);
  void run();

  const JournalSettings settings;
  std::atomic<bool> stopping = false;
  std::atomic<std::uint64_t> dropped = 0;
  std::mutex mutex;  // guards what follows, up to the sink
  std::condition_variable work;
  std::condition_variable done;
  std::string queue;
  std::uint64_t octets_queued = 0;   // since the start
  std::uint64_t octets_written = 0;  // or lost
  bool hurry = false;                // do not linger
  std::uint64_t reopens_wanted = 0;
  std::uint64_t reopens_done = 0;
  EventRepeats repeats;
  std::uint64_t dropped_told = 0;  // of `dropped`; this and what follows are the writer's
  JournalSink sink;
  std::thread writer;
};

template <typename Record>
void Journal::Impl::write(const Record& record, EventRecord::Level level) try {
  // Rendered outside the lock, into memory that is kept from record to record.
  static thread_local TextBuffer line;
  line.clear();
  const bool syslog = settings.sink == JournalSettings::Sink::syslog;
  if (syslog || sink.to_journald()) line.append(syslog_priority(level, syslog));
  append_json(line, record);
  enqueue(line.view());
} catch (const std::bad_alloc&) {
  dropped.fetch_add(1, std::memory_order_relaxed);
}

void Journal::Impl::enqueue(std::string_view line) {
  bool wake = false;
  {
    const std::scoped_lock lock(mutex);
    const std::size_t before = queue.size(), after = before + line.size();
    if (after > settings.queue_octets_max) {
      dropped.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    queue += line;
    octets_queued += line.size();
    const std::size_t half = settings.queue_octets_max / 2;
    if (before < half && after >= half) hurry = wake = true;
    if (before == 0) wake = true;
  }
  if (wake) work.notify_one();
}

void Journal::Impl::write_event(EventRecord::Level level, std::string event,
                                std::vector<std::pair<std::string, std::string>> fields,
                                std::string message) {
  write(EventRecord{std::chrono::system_clock::now(),
                    level,
                    std::move(event),
                    {},
                    std::move(fields),
                    std::move(message)},
        level);
}

// What was queued before the rotation belongs to the old file.
void Journal::Impl::put(std::string_view batch, bool reopen) {
  const std::uint64_t lost = sink.write(batch);
  dropped.fetch_add(lost, std::memory_order_relaxed);
  if (reopen) {
    if (const std::string error = sink.reopen(); !error.empty()) {
      write_event(EventRecord::Level::error, "journal_not_reopened", {{"detail", error}},
                  "records go on to where they went before");
    }
  }
  const std::uint64_t all = dropped.load(std::memory_order_relaxed);
  if (lost > 0 || batch.empty() || all == dropped_told) return;
  write_event(EventRecord::Level::error, "journal_records_lost",
              {{"records", std::to_string(all - dropped_told)}},
              "the journal could not be written; records before this one are missing");
  dropped_told = all;
}

void Journal::Impl::run() {
  std::string batch;
  std::unique_lock lock(mutex);
  const auto wanted = [this] { return stopping || reopens_wanted != reopens_done || !queue.empty(); };
  for (;;) {
    while (!wanted()) {
      if (!repeats.any()) {
        work.wait(lock);
        continue;
      }
      work.wait_for(lock, repeats_interval);
      lock.unlock();
      for (const EventRecord& sum : repeats.take_due(std::chrono::steady_clock::now())) write(sum, sum.level);
      lock.lock();
    }
    work.wait_for(lock, linger, [this] { return stopping || reopens_wanted != reopens_done || hurry; });
    if (stopping) {
      lock.unlock();
      for (const EventRecord& sum : repeats.take_all()) write(sum, sum.level);
      lock.lock();
    }
    batch.swap(queue);
    hurry = false;
    const std::uint64_t up_to = octets_queued;
    const std::uint64_t reopens = reopens_wanted;
    const bool reopen = reopens != reopens_done;
    lock.unlock();
    put(batch, reopen);
    batch.clear();
    lock.lock();
    octets_written = up_to;
    reopens_done = reopens;
    done.notify_all();
    if (stopping && queue.empty()) return;
  }
}

Journal::Journal(JournalSettings settings) : impl_(std::make_unique<Impl>(std::move(settings))) {}
Journal::~Journal() = default;

void Journal::write(const TransactionRecord& record) {
  if (record.subject.empty() || impl_->settings.subject)
    return impl_->write(record, EventRecord::Level::info);
  TransactionRecord without = record;
  without.subject = {};
  impl_->write(without, EventRecord::Level::info);
}

void Journal::write(const SessionRecord& record) { impl_->write(record, EventRecord::Level::info); }

void Journal::write(const EventRecord& record) {
  if (record.level < impl_->settings.level) return;
  if (record.cause.empty() || impl_->repeats.admit(record, std::chrono::steady_clock::now())) {
    impl_->write(record, record.level);
  }
}

void Journal::reopen() {
  {
    const std::scoped_lock lock(impl_->mutex);
    ++impl_->reopens_wanted;
  }
  impl_->work.notify_one();
}

void Journal::flush() {
  std::unique_lock lock(impl_->mutex);
  impl_->hurry = true;
  impl_->work.notify_one();
  const std::uint64_t up_to = impl_->octets_queued;
  const std::uint64_t reopens = impl_->reopens_wanted;
  impl_->done.wait_for(lock, flush_patience,
                       [&] { return impl_->octets_written >= up_to && impl_->reopens_done >= reopens; });
}

std::uint64_t Journal::dropped() const { return impl_->dropped.load(std::memory_order_relaxed); }

}  // namespace portcullis::metrics
