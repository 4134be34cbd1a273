// What scheduling costs the host per step: next and commit, without a model. The bar is 20 us at
// 256 running sequences.
#include <vector>

#include <benchmark/benchmark.h>

#include "engine/scheduler.h"

namespace spate {
namespace {

void run_step(Scheduler& scheduler, Plan& plan, std::vector<Outcome>& outcomes) {
  scheduler.next(plan, {});
  outcomes.assign(static_cast<std::size_t>(plan.n_samples), {.token = 1});
  for (const SequenceId id : scheduler.commit(plan, outcomes)) scheduler.forget(id);
}

// All decode, and as many more wait for a place.
void decode(benchmark::State& state, KvCacheKind kind) {
  const std::int64_t n_running = state.range(0);
  const auto cache = make_kv_allocator(kind, {.n_blocks = 1 << 22});
  Scheduler scheduler({.max_batch_tokens = 8192, .max_requests = n_running}, *cache);
  for (std::int64_t i = 0; i < 2 * n_running; ++i) {
    (void)scheduler.add({.prompt = std::vector<TokenId>(100, 1), .max_new_tokens = 1'000'000});
  }
  Plan plan;
  std::vector<Outcome> outcomes;
  for (int i = 0; i < 40; ++i) run_step(scheduler, plan, outcomes);
  for (auto _ : state) run_step(scheduler, plan, outcomes);
  state.counters["chunks"] = static_cast<double>(plan.chunks.size());
}

// Answers of 100 to 300 tokens in a cache that holds about 256 of them: in every step somebody
// ends, somebody is admitted, and the forecast is asked.
void churn(benchmark::State& state, KvCacheKind kind) {
  const auto cache = make_kv_allocator(kind, {.n_blocks = 1300});
  Scheduler scheduler({.max_batch_tokens = 2048, .max_requests = 512}, *cache);
  Plan plan;
  std::vector<Outcome> outcomes;
  std::int64_t n_added = 0;
  for (auto _ : state) {
    while (scheduler.stats().n_waiting < 8) {
      ++n_added;
      (void)scheduler.add({.prompt = std::vector<TokenId>(100, 1),
                           .max_new_tokens = 100 + n_added * 7919 % 200,
                           .arrival_ns = n_added});
    }
    run_step(scheduler, plan, outcomes);
  }
  state.counters["running"] = static_cast<double>(scheduler.stats().n_running);
  state.counters["preemptions"] = static_cast<double>(scheduler.stats().n_preemptions);
}

BENCHMARK_CAPTURE(decode, segment, KvCacheKind::kSegment)->Arg(1)->Arg(16)->Arg(256)->Arg(1024);
BENCHMARK_CAPTURE(decode, paged, KvCacheKind::kPaged)->Arg(256);
BENCHMARK_CAPTURE(churn, segment, KvCacheKind::kSegment);
BENCHMARK_CAPTURE(churn, paged, KvCacheKind::kPaged);

}  // namespace
}  // namespace spate

BENCHMARK_MAIN();
