// What the memory plan says against what the GPU has less.
#include <cstdlib>

#include <gtest/gtest.h>

#include "device/gpu.h"
#include "tests/engine/same_bits.h"

namespace spate::test {
namespace {

struct Memory {
  std::int64_t planned = 0, taken = 0;
};

/// Of an engine that has read a prompt, written beside others and recorded steps.
Memory memory_of_an_engine(const EngineOptions& options) {
  const auto gpu = Gpu::open(0);
  if (!gpu) {
    ADD_FAILURE() << gpu.error().message;
    return {};
  }
  const std::int64_t before = (*gpu)->free_bytes();
  const auto engine = open(options);
  if (engine == nullptr) return {};
  Request request{.prompt = some_tokens(1000, engine->info().vocab_size, 1)};
  request.sampling = {.max_tokens = 20, .ignore_eos = true, .n = 8};
  EXPECT_TRUE(engine->complete(std::move(request)));

  Memory memory{.taken = before - (*gpu)->free_bytes()};
  for (const MemoryItem& item : engine->info().memory) {
    const bool given_back = item.name.starts_with("transfer of weights");
    if (!item.page_locked && !given_back) memory.planned += item.n_bytes;
  }
  return memory;
}

/// Not planned are recorded launches and what the driver adds to every piece; the plan's work lists
/// are for the largest GPU.
/// The GPU tells only what all programs together have left.
TEST(GpuMemory, IsWhatWasPlanned) {
  if (std::getenv("GTEST_TOTAL_SHARDS") != nullptr) {
    GTEST_SKIP() << "other shards take memory of the same GPU meanwhile; run it alone";
  }
  constexpr std::int64_t kUnplanned = std::int64_t{96} << 20;
  for (const char* weights : {"auto", "q4"}) {
    const EngineOptions options{.model = stories_folder(),
                                .device = "cuda",
                                .weights = weights,
                                .kv_memory = std::int64_t{1} << 30};
    memory_of_an_engine(options);  // kernels and libraries are loaded once
    const Memory memory = memory_of_an_engine(options);

    EXPECT_GT(memory.planned, options.kv_memory);
    EXPECT_LT(std::abs(memory.taken - memory.planned), kUnplanned)
        << weights << ": planned " << memory.planned << ", taken " << memory.taken;
  }
}

}  // namespace
}  // namespace spate::test
