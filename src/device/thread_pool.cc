#include "device/thread_pool.h"

#include <chrono>
#include <thread>
#include <vector>

#include <pthread.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "core/check.h"
#include "device/cores.h"

namespace spate {
namespace {

using Clock = std::chrono::steady_clock;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

/// A number in a cache line of its own that one side sets and the other waits to change. Setting
/// costs no system call unless the other side sleeps.
class alignas(64) Signal {
 public:
  std::uint32_t get() const { return value_.load(std::memory_order_acquire); }
  void set(std::uint32_t v) {
    value_.store(v);  // seq_cst: ordered before the look at the sleepers in notify
    value_.notify_all();
  }
  std::uint32_t add_one() { return value_.fetch_add(1) + 1; }
  void reset() { value_.store(0, std::memory_order_relaxed); }

  /// Waits until the value is no longer `old`: spins first, then sleeps. The first looks come
  /// without pauses and clocks, which take 50 ns each where a whole meeting takes 100.
  void wait(std::uint32_t old, std::chrono::microseconds spin) const {
    constexpr int kEagerLooks = 100;
    constexpr int kPausesPerClock = 64;
    for (int i = 0; i < kEagerLooks; ++i) {
      if (get() != old) return;
    }
    const auto asleep_at = Clock::now() + spin;
    do {
      for (int i = 0; i < kPausesPerClock; ++i) {
        if (get() != old) return;
        pause();
      }
    } while (Clock::now() < asleep_at);
    value_.wait(old);
  }

 private:
  std::atomic<std::uint32_t> value_{0};
};

/// Rounding and denormals as IEEE 754 wants them, whatever the caller has set: bits must not
/// depend on which worker computed them. MXCSR is per thread.
class DefaultFloatMode {
 public:
#if defined(__x86_64__)
  DefaultFloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~DefaultFloatMode() { _mm_setcsr(saved_); }

 private:
  static constexpr unsigned kDefault = 0x1f80;
  unsigned saved_;
#else
  DefaultFloatMode() = default;
  ~DefaultFloatMode() = default;
#endif

 public:
  DefaultFloatMode(const DefaultFloatMode&) = delete;
  DefaultFloatMode& operator=(const DefaultFloatMode&) = delete;
};

}  // namespace

struct ThreadPool::State {
  /// What one worker is asked and answers. Only active workers are spoken to, so a step on few
  /// workers does not wait for the others.
  struct Worker {
    Signal asked;  // number of the job
    Erased call = nullptr;
    void* work = nullptr;
    Signal done;  // number of the last job finished
    std::thread thread;
  };

  explicit State(int size) : workers(static_cast<std::size_t>(size)) {}

  /// What a worker's thread does until it is called without work.
  void serve(int index) {
    Worker& self = workers[static_cast<std::size_t>(index)];
    const DefaultFloatMode mode;
    for (std::uint32_t seen = 0;;) {
      self.asked.wait(seen, idle_spin);
      seen = self.asked.get();
      if (self.call == nullptr) return;
      self.call(self.work, index);
      self.done.set(seen);
    }
  }

  std::vector<Worker> workers;  // [0] is the caller and has no thread
  std::chrono::microseconds idle_spin{};
  std::chrono::microseconds meeting_spin{};
  std::uint32_t job = 0;
  std::uint32_t active = 1;
  alignas(64) std::atomic<std::int64_t> next_item{0};
  Signal arrived;
  Signal meeting;
};

ThreadPool::ThreadPool(const ThreadPoolOptions& options) {
  const std::vector<int> cores = usable_core_ids();
  const int usable = static_cast<int>(cores.size());
  size_ = options.threads > 0 ? options.threads : usable;
  state_ = std::make_unique<State>(size_);
  // Spinning helps nobody when workers share cores: it takes time from the one that is waited for.
  const bool crowded = size_ > usable;
  state_->idle_spin = std::chrono::microseconds(crowded ? 0 : options.spin_us);
  state_->meeting_spin = std::chrono::microseconds(crowded ? 0 : 50);
  for (int i = 1; i < size_; ++i) {
    State::Worker& worker = state_->workers[static_cast<std::size_t>(i)];
    worker.thread = std::thread([state = state_.get(), i] { state->serve(i); });
    if (options.pin && !crowded) {
      pin_thread(worker.thread.native_handle(), cores[static_cast<std::size_t>(i)]);
    }
  }
}

ThreadPool::~ThreadPool() {
  for (int i = 1; i < size_; ++i) {
    State::Worker& worker = state_->workers[static_cast<std::size_t>(i)];
    worker.call = nullptr;
    worker.asked.set(worker.asked.get() + 1);
    worker.thread.join();
  }
}

void ThreadPool::run_erased(Erased call, void* work, int active) {
  SPATE_CHECK_OP(active, <=, size_);
  State& s = *state_;
  if (active == 0) active = size_;
  const DefaultFloatMode mode;
  s.active = static_cast<std::uint32_t>(active);
  s.next_item.store(0, std::memory_order_relaxed);
  ++s.job;
  for (int i = 1; i < active; ++i) {
    State::Worker& worker = s.workers[static_cast<std::size_t>(i)];
    worker.call = call;
    worker.work = work;
    worker.asked.set(s.job);
  }
  call(work, 0);
  for (int i = 1; i < active; ++i) {
    Signal& done = s.workers[static_cast<std::size_t>(i)].done;
    for (std::uint32_t seen = done.get(); seen != s.job; seen = done.get()) {
      done.wait(seen, s.meeting_spin);
    }
  }
}

void ThreadPool::barrier(int /*worker*/) {
  State& s = *state_;
  if (s.active == 1) return;
  const std::uint32_t meeting = s.meeting.get();
  if (s.arrived.add_one() == s.active) {
    s.arrived.reset();
    s.meeting.set(meeting + 1);
    return;
  }
  s.meeting.wait(meeting, s.meeting_spin);
}

std::int64_t ThreadPool::take(std::int64_t n) {
  return state_->next_item.fetch_add(n, std::memory_order_relaxed);
}

void ThreadPool::restart_items() { state_->next_item.store(0, std::memory_order_relaxed); }

}  // namespace spate
