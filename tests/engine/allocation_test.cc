// Steady steps allocate nothing: this program counts every call of operator new.
#include <atomic>
#include <cstdlib>
#include <new>

#include <gtest/gtest.h>

#include "engine/scheduler.h"

namespace {

std::atomic<std::int64_t> n_allocations = 0;  // NOLINT: operator new has no other place for it

}  // namespace

// NOLINTBEGIN: an allocator cannot be written without malloc
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void* operator new(std::size_t n_bytes) {
  ++n_allocations;
  if (void* memory = std::malloc(n_bytes)) return memory;
  std::abort();
}
void* operator new(std::size_t n_bytes, const std::nothrow_t&) noexcept {
  ++n_allocations;
  return std::malloc(n_bytes);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
// NOLINTEND

namespace spate {
namespace {

class SteadySteps : public testing::TestWithParam<KvCacheKind> {};

TEST_P(SteadySteps, AllocateNothing) {
  const auto cache = make_kv_allocator(GetParam(), {.n_blocks = 4096, .block_tokens = 16});
  Scheduler scheduler({.max_batch_tokens = 4096}, *cache);
  for (int i = 0; i < 64; ++i) {
    ASSERT_TRUE(scheduler.add({.prompt = std::vector<TokenId>(20, 1), .max_new_tokens = 500}));
  }
  Plan plans[2];
  std::vector<Outcome> outcomes(64, {.token = 1});
  scheduler.next(plans[0], {});
  const auto step = [&](int i) {
    scheduler.next(plans[(i + 1) % 2], {});
    scheduler.commit(plans[i % 2], outcomes);
  };
  for (int i = 0; i < 50; ++i) step(i);  // warm

  const std::int64_t before = n_allocations;
  for (int i = 50; i < 400; ++i) step(i);

  EXPECT_EQ(n_allocations - before, 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SteadySteps,
                         testing::Values(KvCacheKind::kSegment, KvCacheKind::kPaged));

}  // namespace
}  // namespace spate
