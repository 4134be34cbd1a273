#include "device/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace spate {
namespace {

TEST(ThreadPool, RunsTheWorkOnceOnEveryActiveWorker) {
  ThreadPool pool({.threads = 4});
  std::vector<std::atomic<int>> calls(4);

  for (int active = 1; active <= 4; ++active) {
    pool.run([&](int worker) { ++calls[static_cast<std::size_t>(worker)]; }, active);
  }

  for (int worker = 0; worker < 4; ++worker) {
    EXPECT_EQ(calls[static_cast<std::size_t>(worker)], 4 - worker);
  }
}

TEST(ThreadPool, ZeroMeansAllWorkers) {
  ThreadPool pool({.threads = 3});
  std::atomic<int> calls{0};

  pool.run([&](int) { ++calls; });

  EXPECT_EQ(calls, 3);
}

TEST(ThreadPool, GivesEveryItemToExactlyOneWorker) {
  ThreadPool pool({.threads = 3});
  constexpr std::int64_t kItems = 1000;
  std::vector<std::atomic<int>> taken(kItems);

  for (int round = 0; round < 20; ++round) {
    pool.run([&](int) {
      for (std::int64_t i = pool.take(7); i < kItems; i = pool.take(7)) {
        for (std::int64_t j = i; j < std::min(kItems, i + 7); ++j) {
          ++taken[static_cast<std::size_t>(j)];
        }
      }
    });
  }

  for (const auto& n : taken) EXPECT_EQ(n, 20);
}

// A worker that ran ahead of a barrier would read a neighbour's value of the round before.
TEST(ThreadPool, BarrierHoldsBackWorkersThatAreAhead) {
  constexpr int kThreads = 4;
  ThreadPool pool({.threads = kThreads});
  std::vector<int> round_of(kThreads, 0);
  std::atomic<int> errors{0};

  pool.run([&](int worker) {
    for (int round = 1; round <= 2000; ++round) {
      round_of[static_cast<std::size_t>(worker)] = round;
      pool.barrier(worker);
      for (const int r : round_of) errors += r == round ? 0 : 1;
      pool.barrier(worker);
    }
  });

  EXPECT_EQ(errors, 0);
}

TEST(ThreadPool, ItemsStartAgainBetweenBarriers) {
  ThreadPool pool({.threads = 2});
  std::atomic<int> taken{0};

  pool.run([&](int worker) {
    for (int round = 0; round < 50; ++round) {
      while (pool.take() < 10) ++taken;
      pool.barrier(worker);
      if (worker == 0) pool.restart_items();
      pool.barrier(worker);
    }
  });

  EXPECT_EQ(taken, 500);
}

TEST(ThreadPool, WakesWorkersThatFellAsleep) {
  ThreadPool pool({.threads = 2, .spin_us = 0});
  std::atomic<int> calls{0};

  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    pool.run([&](int) { ++calls; });
  }

  EXPECT_EQ(calls, 40);
}

TEST(ThreadPool, UsesAtLeastOneCore) { EXPECT_GE(usable_cores(), 1); }

}  // namespace
}  // namespace spate
