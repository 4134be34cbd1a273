// The CPU's workers. One pool per engine; its threads are pinned, spin between the operators of a
// step and sleep between steps. The calling thread is worker 0.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace spate {

struct ThreadPoolOptions {
  int threads = 0;  // 0: one per core that this process may use (affinity mask and cgroup quota)
  bool pin = true;
  int spin_us = 1000;  // how long an idle worker spins before it sleeps
};

/// How many cores this process may really use: affinity mask, then cgroup quota.
int usable_cores();

/// `run` is called by one thread at a time (the engine's). Workers may call `barrier` and `take`
/// inside it. Nothing allocates after construction.
class ThreadPool {
 public:
  explicit ThreadPool(const ThreadPoolOptions& options = {});
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int size() const { return size_; }

  /// Calls work(worker) on workers 0 .. active - 1 (all of them when `active` is 0) and returns
  /// when each is done. The work counter starts at zero.
  template <class F>
  void run(F&& work, int active = 0) {
    using Work = std::remove_reference_t<F>;
    run_erased([](void* w, int worker) { (*static_cast<Work*>(w))(worker); },
               const_cast<void*>(static_cast<const void*>(std::addressof(work))), active);
  }

  /// Inside run: waits until every active worker is here. `worker` is the caller's number.
  void barrier(int worker);

  /// Inside run: takes the next `n` items; returns the first. Items are shared by all workers.
  std::int64_t take(std::int64_t n = 1);
  /// Inside run, by one worker between two barriers: items start from zero again.
  void restart_items();

 private:
  using Erased = void (*)(void*, int);
  void run_erased(Erased call, void* work, int active);

  struct State;
  std::unique_ptr<State> state_;
  int size_ = 1;
};

}  // namespace spate
