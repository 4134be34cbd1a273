// The work list of prefill: tiles of query rows, longest first. Plain C++ without CUDA; reuses the
// plan's memory, so that planning allocates nothing once it is warm.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "spate/kernels/cuda/attention_plan.h"

namespace spate::cuda {

struct alignas(16) PrefillTile {
  std::int32_t q_token;   // first row of the packed queries
  std::int32_t rows;      // valid rows of the tile: tokens << PrefillPlan::pack_shift
  std::int32_t kv_begin;  // as in AttentionRequest
  std::int32_t kv_len;
  std::int32_t position;  // key position of the first query
  std::int32_t head;      // query head; with packing the kv head
  std::int32_t kv_head;
  std::int32_t mask_begin;  // first key that mask bits cover
};

// The tiles of a group of requests and kv heads, before they are sorted.
struct PrefillPair {
  std::int32_t request, kv_head;
};

struct PrefillPlan {
  std::vector<PrefillTile> tiles;
  int pack_shift = 0;  // log2 of the query heads of one kv head that share a tile

  // Scratch.
  std::vector<std::int32_t> order;
  std::vector<PrefillPair> members;
  std::vector<std::pair<std::int64_t, std::int32_t>> keys;
  std::vector<PrefillTile> unsorted;
};

enum class PrefillPacking {
  kNever,
  kAlways,    // where the group is a power of two up to 64
  kWhenLess,  // ... and it saves a tenth of the tiles
};

struct PrefillPlanOptions {
  int q_heads = 1, kv_heads = 1;
  int tile_rows = 128;              // PrefillKernel<Variant>::kTileRows
  std::int64_t kv_token_bytes = 0;  // K and V of one token and head, 0: ignore the cache
  AttentionWindow window;
  std::int64_t cache_bytes = std::int64_t{32} << 20;  // K and V kept in L2 at a time
  PrefillPacking packing = PrefillPacking::kWhenLess;
};

namespace plan_detail {

// Log2 of a power of two up to 64, else 0: a row's token must be a shift away.
inline int pack_shift_of(int group) {
  if (group < 2 || (group & (group - 1)) != 0 || group > 64) return 0;
  int shift = 0;
  while (1 << shift < group) ++shift;
  return shift;
}

inline int prefill_pack_shift(std::span<const AttentionRequest> requests,
                              const PrefillPlanOptions& o) {
  const int group = o.q_heads / o.kv_heads;
  const int shift = o.packing == PrefillPacking::kNever ? 0 : pack_shift_of(group);
  if (shift == 0 || o.packing == PrefillPacking::kAlways) return shift;
  std::int64_t plain = 0, packed = 0;
  for (const AttentionRequest& r : requests) {
    plain += ceil_div(r.q_len, o.tile_rows) * group;
    packed += ceil_div(std::int64_t{r.q_len} * group, o.tile_rows);
  }
  return packed * 10 > plain * 9 ? 0 : shift;
}

// Keys that the tile must visit.
inline std::int64_t tile_keys(const PrefillTile& t, int pack_shift, AttentionWindow w) {
  const std::int64_t last = t.position + ((t.rows - 1) >> pack_shift);
  const std::int64_t end =
      w.right < 0 ? t.kv_len : std::min<std::int64_t>(t.kv_len, last + 1 + w.right);
  const std::int64_t begin = w.left < 0 ? 0 : std::max<std::int64_t>(0, t.position - w.left);
  return std::max<std::int64_t>(0, end - begin);
}

struct PrefillPlanner {
  std::span<const AttentionRequest> requests;
  const PrefillPlanOptions& o;
  PrefillPlan& plan;
  std::int32_t tile_tokens = 1;

  const AttentionRequest& request(std::int32_t i) const {
    return requests[static_cast<std::size_t>(i)];
  }
  // The m-th tile of a request, for each query head of the kv head, or for all of them if packed.
  void append_tiles(const AttentionRequest& r, std::int32_t kv_head, std::int32_t m) {
    const std::int32_t first = m * tile_tokens, group = o.q_heads / o.kv_heads;
    if (first >= r.q_len) return;
    PrefillTile t{};
    t.q_token = r.q_begin + first;
    t.rows = std::min(r.q_len - first, tile_tokens) << plan.pack_shift;
    t.kv_begin = r.kv_begin;
    t.kv_len = r.kv_len;
    t.position = r.kv_len - r.q_len + first;
    t.kv_head = kv_head;
    t.mask_begin = r.kv_len - r.mask_columns;
    const std::int32_t heads = group >> plan.pack_shift;
    for (std::int32_t h = 0; h < heads; ++h) {
      t.head = kv_head * heads + h;
      plan.tiles.push_back(t);
    }
  }
  // Stable: tiles of equal length stay in the order of requests and heads.
  void sort_from(std::size_t first) {
    plan.keys.clear();
    bool sorted = true;
    for (std::size_t i = first; i < plan.tiles.size(); ++i) {
      const std::int64_t key = -tile_keys(plan.tiles[i], plan.pack_shift, o.window);
      sorted = sorted && (plan.keys.empty() || plan.keys.back().first <= key);
      plan.keys.emplace_back(key, static_cast<std::int32_t>(i - first));
    }
    if (sorted) return;
    std::sort(plan.keys.begin(), plan.keys.end());
    plan.unsorted.assign(plan.tiles.begin() + static_cast<std::ptrdiff_t>(first), plan.tiles.end());
    for (std::size_t i = 0; i < plan.keys.size(); ++i) {
      plan.tiles[first + i] = plan.unsorted[static_cast<std::size_t>(plan.keys[i].second)];
    }
  }
  // Those with the most keys first.
  void order_requests() {
    plan.order.resize(requests.size());
    std::iota(plan.order.begin(), plan.order.end(), 0);
    std::sort(plan.order.begin(), plan.order.end(), [&](std::int32_t a, std::int32_t b) {
      const std::int32_t x = request(a).kv_len, y = request(b).kv_len;
      return x != y ? x > y : a < b;
    });
  }
  // Appends the tiles of the current group, those with the most keys first.
  void flush() {
    std::int32_t most = 0;
    for (const PrefillPair& p : plan.members) {
      const std::int64_t tiles = ceil_div(request(p.request).q_len, tile_tokens);
      most = std::max(most, static_cast<std::int32_t>(tiles));
    }
    const std::size_t first = plan.tiles.size();
    for (std::int32_t m = most - 1; m >= 0; --m) {
      for (const PrefillPair& p : plan.members) append_tiles(request(p.request), p.kv_head, m);
    }
    sort_from(first);
    plan.members.clear();
  }
};

}  // namespace plan_detail

// Whether tall tiles (PrefillVariant::kTall, with PrefillPacking::kAlways) are the faster ones for
// causal attention with `group` query heads of a kv head: packed by four or more, a tile has few
// tokens, and little of it lies beyond the diagonal (docs/benchmarks-gpu.md). Pages of less than 64
// tokens take its short ring too many copies.
inline bool prefers_tall_tiles(int group, int page_tokens = 128) {
  return plan_detail::pack_shift_of(group) >= 2 && page_tokens >= 64;
}

// Groups of (request, kv head) pairs whose K and V fit the cache run one after the other; inside a
// group the tiles with the most keys come first (longest processing time first).
inline void plan_prefill(std::span<const AttentionRequest> requests, const PrefillPlanOptions& o,
                         PrefillPlan& plan) {
  plan.tiles.clear();
  plan.members.clear();
  plan.pack_shift = plan_detail::prefill_pack_shift(requests, o);
  plan_detail::PrefillPlanner planner{requests, o, plan, o.tile_rows >> plan.pack_shift};
  planner.order_requests();
  std::int64_t bytes = 0;
  for (const std::int32_t i : plan.order) {
    const std::int64_t size = planner.request(i).kv_len * o.kv_token_bytes;
    for (std::int32_t h = 0; h < o.kv_heads; ++h) {
      if (!plan.members.empty() && bytes + size > o.cache_bytes) {
        planner.flush();
        bytes = 0;
      }
      plan.members.push_back({i, h});
      bytes += size;
    }
  }
  planner.flush();
}

inline PrefillPlan plan_prefill(std::span<const AttentionRequest> requests,
                                const PrefillPlanOptions& o) {
  PrefillPlan plan;
  plan_prefill(requests, o, plan);
  return plan;
}

}  // namespace spate::cuda
