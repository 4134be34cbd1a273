// The work lists of the GPU's attention, walked on the host as the kernels walk them.
#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "spate/kernels/cuda/decode_plan.h"
#include "spate/kernels/cuda/prefill_plan.h"

namespace spate {
namespace {

using cuda::AttentionRequest;
using cuda::DecodePart;
using cuda::DecodePlan;
using cuda::DecodePlanOptions;
using cuda::DecodeRow;

std::vector<AttentionRequest> requests_of(const std::vector<std::pair<int, int>>& lengths) {
  std::vector<AttentionRequest> requests;
  std::int32_t row = 0;
  for (const auto& [q_len, kv_len] : lengths) {
    AttentionRequest r;
    r.q_begin = row;
    r.q_len = q_len;
    r.kv_len = kv_len;
    requests.push_back(r);
    row += q_len;
  }
  return requests;
}

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

struct Piece {
  std::int32_t row, kv_head, block, block_end;
  DecodePart part;
};

// As DecodeWalk of decode_params.cuh does.
std::vector<Piece> walk(const DecodePlan& plan, int kv_heads) {
  std::vector<Piece> pieces;
  for (const cuda::DecodeShare& share : plan.shares) {
    std::int32_t left = share.blocks;
    Piece piece{share.row, share.kv_head, share.block, 0, {}};
    for (bool first = true; left > 0; first = false) {
      const DecodeRow& row = plan.rows[static_cast<std::size_t>(piece.row)];
      piece.block_end = std::min(row.block_end, piece.block + left);
      piece.part = {};
      if (row.split > 0) {
        const std::int32_t split = piece.block / row.split;
        piece.block_end = std::min(piece.block_end, (split + 1) * row.split);
        const std::int32_t slot = row.first_slot + piece.kv_head * row.parts;
        if (row.parts > 1) piece.part = {slot + split - row.block / row.split, slot, row.parts};
      } else if (first) {
        piece.part = share.head;
      } else if (piece.block_end - piece.block == left) {
        piece.part = share.tail;
      }
      left -= piece.block_end - piece.block;
      pieces.push_back(piece);
      piece.block = piece.block_end;
      if (piece.block < row.block_end) continue;
      if (++piece.kv_head == kv_heads) {
        piece.kv_head = 0;
        ++piece.row;
      }
      if (left > 0) piece.block = plan.rows[static_cast<std::size_t>(piece.row)].block;
    }
  }
  return pieces;
}

// Every block once and in order; parts of a row numbered from its first slot on, no slot twice.
void expect_sound(const DecodePlan& plan, int kv_heads) {
  std::map<std::pair<std::int32_t, std::int32_t>, std::vector<Piece>> rows;
  std::set<std::int32_t> slots;
  for (const Piece& p : walk(plan, kv_heads)) rows[{p.row, p.kv_head}].push_back(p);
  ASSERT_EQ(rows.size(), plan.rows.size() * static_cast<std::size_t>(kv_heads));
  for (const auto& [key, pieces] : rows) {
    const DecodeRow& row = plan.rows[static_cast<std::size_t>(key.first)];
    std::int32_t block = row.block, part = 0;
    for (const Piece& p : pieces) {
      ASSERT_EQ(p.block, block);
      block = p.block_end;
      const bool cut = pieces.size() > 1;
      ASSERT_EQ(p.part.slot >= 0, cut) << "row " << key.first << " head " << key.second;
      if (!cut) continue;
      ASSERT_EQ(p.part.parts, static_cast<std::int32_t>(pieces.size()));
      ASSERT_EQ(p.part.slot, p.part.first_slot + part++);
      ASSERT_LT(p.part.slot, plan.slots);
      ASSERT_TRUE(slots.insert(p.part.slot).second);
    }
    ASSERT_EQ(block, row.block_end);
  }
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
    std::set<std::pair<std::int32_t, std::int32_t>> seen;
    std::int64_t last = -1;
    for (const cuda::PrefillTile& t : plan.tiles) {
      const std::int32_t heads = 1 << plan.pack_shift;
      for (std::int32_t r = 0; r < t.rows; ++r) {
        const std::int32_t head = t.head * heads + r % heads;
        ASSERT_EQ(head / 4, t.kv_head);
        ASSERT_TRUE(seen.insert({t.q_token + r / heads, head}).second);
      }
      const std::int64_t keys = t.position + (t.rows - 1) / heads + 1;
      if (last >= 0) {
        ASSERT_LE(keys, last);
      }
      last = keys;
    }
    EXPECT_EQ(seen.size(), (1024U + 17 + 500 + 129) * 8);
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
