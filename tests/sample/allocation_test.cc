// Counts calls of operator new in this program, to prove that a step makes none.
#include <atomic>
#include <cstdlib>
#include <new>

#include <gtest/gtest.h>

#include "sample/sampler.h"
#include "tests/sample/rows.h"

namespace {

// The replaced operators have no other place to count.
std::atomic<std::int64_t> allocations = 0;  // NOLINT(*-avoid-non-const-global-variables)

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  std::abort();
}
void* operator new(std::size_t n_bytes, const std::nothrow_t&) noexcept {
  return std::malloc(n_bytes);
}
// Not inline: GCC would see memory of an operator new freed, and not where it came from.
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}

namespace spate {
namespace {

TEST(Sampler, AllocatesNothingOnceWarm) {
  const std::vector<float> row = normal_row(32000, 3, 1);
  SamplerScratch scratch;
  SampledToken token;
  for (const SamplingParams& params :
       {SamplingParams{.temperature = 0}, SamplingParams{},
        SamplingParams{.top_k = 50, .top_p = 0.9F}, SamplingParams{.top_k = 5000},
        SamplingParams{.min_p = 0.1F, .typical_p = 0.9F},
        SamplingParams{.repetition_penalty = 1.2F, .frequency_penalty = 1, .logprobs = 5}}) {
    const auto sampler = Sampler::make(params, 32000, {});
    TokenHistory history(sampler->tracks_tokens());
    history.reserve(200);
    ASSERT_TRUE(sampler->sample(row, history, {}, &scratch, &token));
    const std::int64_t before = allocations;

    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(sampler->sample(row, history, {}, &scratch, &token));
      history.add_output(token.id + i % 2);
    }

    EXPECT_EQ(allocations, before);
  }
}

}  // namespace
}  // namespace spate
