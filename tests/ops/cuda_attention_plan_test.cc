// The work lists of the GPU's attention, walked on the host as the kernels walk them.
#include <algorithm>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/ops/attention_plan_walk.h"

namespace spate {
namespace {

using cuda::AttentionRequest;
using cuda::DecodePlan;
using cuda::DecodePlanOptions;

std::vector<AttentionRequest> random_requests(int n, int longest, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::pair<int, int>> lengths;
  for (int i = 0; i < n; ++i) {
    const int q_len = 1 + static_cast<int>(random() % 3);
    lengths.emplace_back(q_len,
                         q_len + static_cast<int>(random() % static_cast<unsigned>(longest)));
  }
  return requests_of(lengths);
}

DecodePlanOptions options_of(int q_heads, int kv_heads) {
  DecodePlanOptions o;
  o.q_heads = q_heads;
  o.kv_heads = kv_heads;
  return o;
}

TEST(CudaDecodePlan, DealsOutEveryBlockOnce) {
  for (const int n : {0, 1, 2, 7, 64, 256}) {
    for (const int longest : {1, 130, 1000, 9000}) {
      SCOPED_TRACE(testing::Message() << n << " requests of up to " << longest);
      expect_sound(cuda::plan_decode(random_requests(n, longest, 1), options_of(32, 8)), 8);
    }
  }
}

TEST(CudaDecodePlan, DealsOutEveryBlockOnceWithFixedSplits) {
  for (const int n : {0, 1, 7, 256}) {
    for (const int longest : {130, 9000, 140000}) {
      SCOPED_TRACE(testing::Message() << n << " requests of up to " << longest);
      DecodePlanOptions o = options_of(8, 2);
      o.split_tokens = 1024;
      expect_sound(cuda::plan_decode(random_requests(n, longest, 2), o), 2);
    }
  }
}

TEST(CudaDecodePlan, BeginsAtTheWindow) {
  DecodePlanOptions o = options_of(4, 1);
  o.window_left = 255;
  const DecodePlan plan = cuda::plan_decode(requests_of({{1, 1000}, {1, 100}, {2, 512}}), o);
  expect_sound(plan, 1);
  ASSERT_EQ(plan.rows.size(), 3U);
  EXPECT_EQ(plan.rows[0].block, (1000 - 256) / 128);
  EXPECT_EQ(plan.rows[1].block, 0);
  EXPECT_EQ(plan.rows[2].block, (512 - 257) / 128);
}

TEST(CudaDecodePlan, GivesEqualShares) {
  const DecodePlan plan = cuda::plan_decode(random_requests(64, 9000, 3), options_of(32, 8));
  const auto [least, most] =
      std::minmax_element(plan.shares.begin(), plan.shares.end(),
                          [](const auto& a, const auto& b) { return a.blocks < b.blocks; });
  EXPECT_LE(most->blocks - least->blocks, 1);
}

TEST(CudaDecodePlan, CutsARowAlikeInEveryBatchWithFixedSplits) {
  DecodePlanOptions o = options_of(32, 8);
  o.split_tokens = 1024;
  const std::vector<AttentionRequest> many = random_requests(50, 9000, 4);
  const DecodePlan together = cuda::plan_decode(many, o);
  const DecodePlan alone = cuda::plan_decode({many.data() + 17, 1}, o);
  std::vector<std::int32_t> in_batch, by_itself;
  const std::int32_t first = many[17].q_begin, end = first + many[17].q_len;
  for (const Piece& p : walk(together, 8)) {
    const std::int32_t q = together.rows[static_cast<std::size_t>(p.row)].q_token;
    if (q >= first && q < end) in_batch.push_back(p.block);
  }
  for (const Piece& p : walk(alone, 8)) by_itself.push_back(p.block);
  EXPECT_EQ(in_batch, by_itself);
}

TEST(CudaPrefillPlan, CoversEveryRowAndHeadOnceLongestFirst) {
  const std::vector<AttentionRequest> requests =
      requests_of({{1024, 1024}, {17, 300}, {500, 4000}, {129, 129}});
  using Packing = cuda::PrefillPacking;
  for (const auto& [packing, tile_rows] : {std::pair{Packing::kNever, 128},
                                           {Packing::kAlways, 128},
                                           {Packing::kNever, 192},
                                           {Packing::kAlways, 192}}) {
    cuda::PrefillPlanOptions o;
    o.q_heads = 8;
    o.kv_heads = 2;
    o.window.right = 0;
    o.tile_rows = tile_rows;
    o.packing = packing;
    const cuda::PrefillPlan plan = cuda::plan_prefill(requests, o);
    expect_sound(plan, requests, o);
    expect_longest_first(plan, o);
  }
}

TEST(CudaPrefillPlan, PrefersTallTilesWhereFourHeadsAndMoreAreInOne) {
  for (const int group : {4, 8, 16, 32, 64}) EXPECT_TRUE(cuda::prefers_tall_tiles(group)) << group;
  // None are packed but powers of two up to 64.
  for (const int group : {1, 2, 3, 5, 6, 7, 12, 128})
    EXPECT_FALSE(cuda::prefers_tall_tiles(group)) << group;
  EXPECT_TRUE(cuda::prefers_tall_tiles(4, 64));
  EXPECT_FALSE(cuda::prefers_tall_tiles(4, 16));
}

}  // namespace
}  // namespace spate
