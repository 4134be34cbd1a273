// The work lists of the GPU's attention, walked on the host as the kernels walk them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "spate/kernels/cuda/decode_plan.h"
#include "spate/kernels/cuda/prefill_plan.h"

namespace spate {

inline std::vector<cuda::AttentionRequest> requests_of(
    const std::vector<std::pair<int, int>>& lengths) {
  std::vector<cuda::AttentionRequest> requests;
  std::int32_t row = 0;
  for (const auto& [q_len, kv_len] : lengths) {
    cuda::AttentionRequest r;
    r.q_begin = row;
    r.q_len = q_len;
    r.kv_len = kv_len;
    requests.push_back(r);
    row += q_len;
  }
  return requests;
}

struct Piece {
  std::int32_t row, kv_head, block, block_end;
  cuda::DecodePart part;
};

// As DecodeWalk of decode_params.cuh does.
inline std::vector<Piece> walk(const cuda::DecodePlan& plan, int kv_heads) {
  std::vector<Piece> pieces;
  for (const cuda::DecodeShare& share : plan.shares) {
    std::int32_t left = share.blocks;
    Piece piece{share.row, share.kv_head, share.block, 0, {}};
    for (bool first = true; left > 0; first = false) {
      const cuda::DecodeRow& row = plan.rows[static_cast<std::size_t>(piece.row)];
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
inline void expect_sound(const cuda::DecodePlan& plan, int kv_heads) {
  std::map<std::pair<std::int32_t, std::int32_t>, std::vector<Piece>> rows;
  std::set<std::int32_t> slots;
  for (const Piece& p : walk(plan, kv_heads)) rows[{p.row, p.kv_head}].push_back(p);
  ASSERT_EQ(rows.size(), plan.rows.size() * static_cast<std::size_t>(kv_heads));
  for (const auto& [key, pieces] : rows) {
    const cuda::DecodeRow& row = plan.rows[static_cast<std::size_t>(key.first)];
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
  ASSERT_EQ(static_cast<std::int64_t>(slots.size()), plan.slots);
}

// Every query and head once, in tiles of one request each.
inline void expect_sound(const cuda::PrefillPlan& plan,
                         std::span<const cuda::AttentionRequest> requests,
                         const cuda::PrefillPlanOptions& o) {
  std::vector<std::int32_t> request_of;  // of each query
  for (std::size_t b = 0; b < requests.size(); ++b) {
    request_of.insert(request_of.end(), static_cast<std::size_t>(requests[b].q_len),
                      static_cast<std::int32_t>(b));
  }
  std::vector<int> times(request_of.size() * static_cast<std::size_t>(o.q_heads));
  const std::int32_t packed = 1 << plan.pack_shift;
  for (const cuda::PrefillTile& t : plan.tiles) {
    ASSERT_GT(t.rows, 0);
    ASSERT_LE(t.rows, o.tile_rows);
    ASSERT_EQ(t.rows % packed, 0);
    const auto b = request_of.at(static_cast<std::size_t>(t.q_token));
    const cuda::AttentionRequest& r = requests[static_cast<std::size_t>(b)];
    ASSERT_LE(t.q_token + t.rows / packed, r.q_begin + r.q_len);
    ASSERT_EQ(t.kv_begin, r.kv_begin);
    ASSERT_EQ(t.kv_len, r.kv_len);
    ASSERT_EQ(t.position, r.kv_len - r.q_len + t.q_token - r.q_begin);
    ASSERT_EQ(t.mask_begin, r.kv_len - r.mask_columns);
    for (std::int32_t i = 0; i < t.rows; ++i) {
      const std::int32_t head = t.head * packed + i % packed;
      ASSERT_EQ(head / (o.q_heads / o.kv_heads), t.kv_head);
      ++times.at(static_cast<std::size_t>((t.q_token + i / packed) * o.q_heads + head));
    }
  }
  for (const int n : times) ASSERT_EQ(n, 1);
}

// Of plans whose keys all fit the cache.
inline void expect_longest_first(const cuda::PrefillPlan& plan, const cuda::PrefillPlanOptions& o) {
  for (std::size_t i = 1; i < plan.tiles.size(); ++i) {
    auto keys = [&](std::size_t tile) {
      return cuda::plan_detail::tile_keys(plan.tiles[tile], plan.pack_shift, o.window);
    };
    ASSERT_GE(keys(i - 1), keys(i));
  }
}

}  // namespace spate
