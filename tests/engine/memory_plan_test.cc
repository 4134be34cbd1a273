// The plan of memory: what is in the table, and what the cache gets.
#include "engine/memory_plan.h"

#include <gtest/gtest.h>

namespace spate {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

MemoryDemand demand() {
  return {.weights = 1000 * kMiB,
          .vectors = 3 * kMiB,
          .workspace = 50 * kMiB,
          .logits = 20 * kMiB,
          .logit_rows = 64,
          .kv_block = 2 * kMiB,
          .block_tokens = 64,
          .context_length = 128,
          .max_requests = 10,
          .available = 64000 * kMiB};
}

MemoryDemand gpu_demand() {
  MemoryDemand d = demand();
  d.on_gpu = true;
  d.tables = 7 * kMiB;
  d.transfer = 64 * kMiB;
  d.locked_tables = 5 * kMiB;
  d.locked_logits = 40 * kMiB;
  return d;
}

TEST(MemoryPlan, CountsEverything) {
  const Result<MemoryPlan> plan = plan_memory(demand());
  ASSERT_TRUE(plan);

  EXPECT_EQ(plan->kv_blocks, 20);
  EXPECT_EQ(plan->total(), (1000 + 3 + 50 + 20 + 40) * kMiB);
  EXPECT_EQ(memory_table(plan->items).find("page-locked"), std::string::npos);
}

TEST(MemoryPlan, OfAGpuCountsPageLockedMemoryApart) {
  const Result<MemoryPlan> plan = plan_memory(gpu_demand());
  ASSERT_TRUE(plan);

  EXPECT_EQ(plan->total(), (1000 + 3 + 50 + 20 + 40 + 7 + 64) * kMiB);
  const std::string table = memory_table(plan->items);
  for (const char* line :
       {"cuBLASLt", "rotary tables", "transfer of weights", "page-locked: logits"}) {
    EXPECT_NE(table.find(line), std::string::npos) << table;
  }
  EXPECT_NE(table.find("total page-locked"), std::string::npos) << table;
  EXPECT_NE(table.find("109.0 MiB\n"), std::string::npos) << table;
}

TEST(MemoryPlan, OfMadeUpWeightsHasNoTransfer) {
  MemoryDemand d = gpu_demand();
  d.transfer = 0;

  EXPECT_EQ(memory_table(plan_memory(d)->items).find("while loading"), std::string::npos);
}

TEST(MemoryPlan, TheCacheGetsWhatTheRestLeaves) {
  MemoryDemand d = gpu_demand();
  const std::int64_t rest = (1000 + 3 + 50 + 20 + 7 + 64) * kMiB;
  d.available = 1600 * kMiB;

  const Result<MemoryPlan> plan = plan_memory(d);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->kv_blocks, 20);
  d.available = rest + 110 * kMiB;  // of which a 16th stays free
  EXPECT_EQ(plan_memory(d)->kv_blocks, (d.available - rest - d.available / 16) / (2 * kMiB));
  d.available = rest;
  EXPECT_FALSE(plan_memory(d));
}

TEST(MemoryPlan, WhatDoesNotFitIsRefusedWithTheTable) {
  MemoryDemand d = gpu_demand();
  d.kv_memory = d.available;

  const Result<MemoryPlan> plan = plan_memory(d);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kOutOfMemory);
  for (const char* word : {"not enough memory", "sampling", "total", "--kv-memory"}) {
    EXPECT_NE(plan.error().message.find(word), std::string::npos) << plan.error().message;
  }
}

}  // namespace
}  // namespace spate
