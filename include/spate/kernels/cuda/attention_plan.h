// Work lists of the attention kernels, made on the host once per step and shared by all layers.
// Plain C++ without CUDA: pure functions from lengths to lists. The caller copies the lists to the
// device and owns that memory.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace spate::cuda {

// One request's share of a batch. Counts are tokens.
struct AttentionRequest {
  std::int32_t q_begin = 0;  // its first row of the packed queries
  std::int32_t q_len = 1;
  std::int32_t kv_begin = 0;  // strided KV: its first row of the packed keys; pages: the index of
                              // its first entry in the page table
  std::int32_t kv_len = 0;        // keys in all, those of the queries included
  std::int32_t mask_columns = 0;  // Mask::kBits: how many of the last keys the bits cover
};

// The mask as the planner sees it; -1 = unbounded.
struct AttentionWindow {
  std::int32_t left = -1;   // keys before a query's position
  std::int32_t right = -1;  // keys after it; 0 = causal
};

// ---- prefill: tiles of query rows, longest first

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

struct PrefillPlan {
  std::vector<PrefillTile> tiles;
  int pack_shift = 0;  // log2 of the query heads of one kv head that share a tile
};

struct PrefillPlanOptions {
  int q_heads = 1, kv_heads = 1;
  int tile_rows = 128;              // PrefillKernel<Variant>::kTileRows
  std::int64_t kv_token_bytes = 0;  // K and V of one token and head, 0: ignore the cache
  AttentionWindow window;
  std::int64_t cache_bytes = std::int64_t{32} << 20;  // K and V kept in L2 at a time
  bool allow_packing = true;
};

namespace plan_detail {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Query heads of a kv head as rows of one tile: worth it where it saves a tenth of the tiles. Needs
// a power of two, so that a row's token is a shift away.
inline int prefill_pack_shift(std::span<const AttentionRequest> requests,
                              const PrefillPlanOptions& o) {
  const int group = o.q_heads / o.kv_heads;
  if (!o.allow_packing || group < 2 || (group & (group - 1)) != 0 || group > 64) return 0;
  std::int64_t plain = 0, packed = 0;
  for (const AttentionRequest& r : requests) {
    plain += ceil_div(r.q_len, o.tile_rows) * group;
    packed += ceil_div(std::int64_t{r.q_len} * group, o.tile_rows);
  }
  if (packed * 10 > plain * 9) return 0;
  int shift = 0;
  while (1 << shift < group) ++shift;
  return shift;
}

// Keys that the tile must visit.
inline std::int64_t tile_keys(const PrefillTile& t, int pack_shift, AttentionWindow w) {
  const std::int64_t last = t.position + ((t.rows - 1) >> pack_shift);
  const std::int64_t end =
      w.right < 0 ? t.kv_len : std::min<std::int64_t>(t.kv_len, last + 1 + w.right);
  const std::int64_t begin = w.left < 0 ? 0 : std::max<std::int64_t>(0, t.position - w.left);
  return std::max<std::int64_t>(0, end - begin);
}

}  // namespace plan_detail

// Groups of (request, kv head) pairs whose K and V fit the cache run one after the other; inside a
// group the tiles with the most keys come first (longest processing time first).
inline PrefillPlan plan_prefill(std::span<const AttentionRequest> requests,
                                const PrefillPlanOptions& o) {
  PrefillPlan plan;
  plan.pack_shift = plan_detail::prefill_pack_shift(requests, o);
  const int group = o.q_heads / o.kv_heads;
  const int tile_tokens = o.tile_rows >> plan.pack_shift;
  std::vector<std::int32_t> order(requests.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return requests[static_cast<std::size_t>(a)].kv_len >
           requests[static_cast<std::size_t>(b)].kv_len;
  });

  auto append_tiles = [&](const AttentionRequest& r, int kv_head, std::int32_t m) {
    const std::int32_t first = m * tile_tokens;
    PrefillTile t{};
    t.q_token = r.q_begin + first;
    t.rows = std::min(r.q_len - first, tile_tokens) << plan.pack_shift;
    t.kv_begin = r.kv_begin;
    t.kv_len = r.kv_len;
    t.position = r.kv_len - r.q_len + first;
    t.kv_head = kv_head;
    t.mask_begin = r.kv_len - r.mask_columns;
    const int heads = plan.pack_shift > 0 ? 1 : group;
    for (int h = 0; h < heads; ++h) {
      t.head = heads == 1 && group > 1 ? kv_head : kv_head * group + h;
      plan.tiles.push_back(t);
    }
  };
  struct Pair {
    std::int32_t request, kv_head;
  };
  std::vector<Pair> members;
  std::int64_t bytes = 0;
  auto flush = [&] {
    std::int32_t most = 0;
    for (const Pair& p : members) {
      const std::int32_t q_len = requests[static_cast<std::size_t>(p.request)].q_len;
      most = std::max(most, static_cast<std::int32_t>(plan_detail::ceil_div(q_len, tile_tokens)));
    }
    const auto first = static_cast<std::ptrdiff_t>(plan.tiles.size());
    for (std::int32_t m = most - 1; m >= 0; --m) {
      for (const Pair& p : members) {
        const AttentionRequest& r = requests[static_cast<std::size_t>(p.request)];
        if (m * tile_tokens < r.q_len) append_tiles(r, p.kv_head, m);
      }
    }
    auto longer = [&](const PrefillTile& a, const PrefillTile& b) {
      return plan_detail::tile_keys(a, plan.pack_shift, o.window) >
             plan_detail::tile_keys(b, plan.pack_shift, o.window);
    };
    if (!std::is_sorted(plan.tiles.begin() + first, plan.tiles.end(), longer)) {
      std::stable_sort(plan.tiles.begin() + first, plan.tiles.end(), longer);
    }
    members.clear();
    bytes = 0;
  };
  for (const std::int32_t i : order) {
    const std::int64_t size = requests[static_cast<std::size_t>(i)].kv_len * o.kv_token_bytes;
    for (int h = 0; h < o.kv_heads; ++h) {
      if (!members.empty() && bytes + size > o.cache_bytes) flush();
      members.push_back({i, h});
      bytes += size;
    }
  }
  flush();
  return plan;
}

// ---- decode: segments of KV blocks, dealt out to a persistent grid

// Blocks [block, block_end) of one row; a row is one kv head of (a few queries of) one request.
struct alignas(16) DecodeSegment {
  std::int32_t row;  // index into the tickets
  std::int32_t kv_head;
  std::int32_t q_token;  // first row of the packed queries
  std::int32_t q_len;
  std::int32_t kv_len;  // keys that the row's last query sees
  std::int32_t block, block_end;
  std::int32_t table;       // the request's first entry in the page table
  std::int32_t slot;        // where its partial result goes; -1: the segment is the whole row
  std::int32_t first_slot;  // of the row
  std::int32_t parts;       // segments of the row
  std::int32_t next;        // index of the same block's next segment, -1: none
  std::int32_t first_page;  // id of its first page where the host knows the table, else -1
  std::int32_t unused[3];
};
static_assert(sizeof(DecodeSegment) == 64);

struct DecodePlan {
  std::vector<DecodeSegment> segments;  // segments[c] is the first of thread block c
  int grid = 0;
  std::int64_t rows = 0;   // tickets, zeroed once
  std::int64_t slots = 0;  // partial results
};

struct DecodePlanOptions {
  int q_heads = 1, kv_heads = 1;
  int columns = 8;         // DecodeKernel<Variant>::kColumns: query rows of one kv head at a time
  int block_tokens = 128;  // DecodeKernel<Variant>::kBlockTokens
  int page_tokens = 128;
  int multiprocessors = 132;
  std::int32_t window_left = -1;
  // 0: shares of equal size cut rows anywhere, the fastest. Otherwise rows are cut at multiples of this
  // many tokens alone (of a 32nd of the row if that is more): a row's bits depend on its own length.
  int split_tokens = 0;
};

namespace plan_detail {

// Segments without slots, in row order: the whole row, or its pieces of split_tokens.
inline std::vector<DecodeSegment> decode_pieces(std::span<const AttentionRequest> requests,
                                                const DecodePlanOptions& o) {
  std::vector<DecodeSegment> pieces;
  const int tokens_at_once = std::max(1, o.columns / (o.q_heads / o.kv_heads));
  std::int32_t row = 0;
  for (const AttentionRequest& r : requests) {
    for (std::int32_t q = 0; q < r.q_len; q += tokens_at_once) {
      const std::int32_t q_len = std::min(tokens_at_once, r.q_len - q);
      const std::int32_t kv_len = std::max(0, r.kv_len - (r.q_len - q - q_len));
      const std::int32_t first_key =
          o.window_left < 0 ? 0 : std::max(0, kv_len - q_len - o.window_left);
      const auto split = static_cast<std::int32_t>(
          o.split_tokens == 0 ? 0 : ceil_div(std::max(o.split_tokens, kv_len / 32), o.block_tokens));
      const std::int32_t begin = std::min(first_key, std::max(0, kv_len - 1)) / o.block_tokens;
      const auto end = static_cast<std::int32_t>(
          std::max<std::int64_t>(begin + 1, ceil_div(kv_len, o.block_tokens)));
      for (std::int32_t h = 0; h < o.kv_heads; ++h, ++row) {
        for (std::int32_t at = begin; at < end;) {
          const std::int32_t stop = split == 0 ? end : std::min(end, (at / split + 1) * split);
          pieces.push_back(
              {row, h, r.q_begin + q, q_len, kv_len, at, stop, r.kv_begin, 0, 0, 1, -1, -1, {}});
          at = stop;
        }
      }
    }
  }
  return pieces;
}

// The smallest load so that consecutive pieces fit `grid` bins of it.
inline std::int64_t smallest_load(std::span<const DecodeSegment> pieces, int grid) {
  std::int64_t total = 0, largest = 0;
  for (const DecodeSegment& s : pieces) {
    total += s.block_end - s.block;
    largest = std::max<std::int64_t>(largest, s.block_end - s.block);
  }
  auto bins = [&](std::int64_t load) {
    std::int64_t n = 1, used = 0;
    for (const DecodeSegment& s : pieces) {
      const std::int64_t size = s.block_end - s.block;
      if (used + size > load) {
        ++n;
        used = 0;
      }
      used += size;
    }
    return n;
  };
  std::int64_t low = std::max(largest, ceil_div(total, grid)), high = std::max(low, total);
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (bins(middle) <= grid)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

}  // namespace plan_detail

// Deals the pieces out in order. With split_tokens == 0 every thread block gets the same number of
// KV blocks (stream-K) and rows are cut wherever a share ends.
inline DecodePlan plan_decode(std::span<const AttentionRequest> requests,
                              const DecodePlanOptions& o) {
  DecodePlan plan;
  const std::vector<DecodeSegment> pieces = plan_detail::decode_pieces(requests, o);
  if (pieces.empty()) return plan;
  std::int64_t total = 0;
  for (const DecodeSegment& s : pieces) total += s.block_end - s.block;
  plan.rows = pieces.back().row + 1;
  const bool cut = o.split_tokens == 0;
  const auto grid = static_cast<int>(std::min<std::int64_t>(
      cut ? total : static_cast<std::int64_t>(pieces.size()), o.multiprocessors));
  // Small shares take whole multiples of the largest one: as fast as equal ones, and rows whose length
  // is such a multiple are cut into fewer parts.
  const std::int64_t share_size = plan_detail::ceil_div(total, grid);
  const bool equal = cut && share_size > 8;
  const std::int64_t load = cut ? share_size : plan_detail::smallest_load(pieces, grid);

  std::vector<std::vector<DecodeSegment>> shares(static_cast<std::size_t>(grid));
  std::vector<std::int32_t> parts(static_cast<std::size_t>(plan.rows), 0);
  int share = 0;
  std::int64_t used = 0;
  for (DecodeSegment s : pieces) {
    while (s.block < s.block_end) {
      std::int64_t room = load - used;
      if (equal) room = total * (share + 1) / grid - total * share / grid - used;
      const std::int64_t size = s.block_end - s.block;
      if (room <= 0 || (!cut && size > room)) {
        ++share;
        used = 0;
        continue;
      }
      DecodeSegment part = s;
      part.block_end = static_cast<std::int32_t>(s.block + std::min(room, size));
      part.slot = parts[static_cast<std::size_t>(s.row)]++;
      shares[static_cast<std::size_t>(share)].push_back(part);
      used += part.block_end - part.block;
      s.block = part.block_end;
    }
  }

  while (!shares.empty() && shares.back().empty()) shares.pop_back();
  plan.grid = static_cast<int>(shares.size());
  std::vector<std::int32_t> first_slot(parts.size(), 0);
  for (std::size_t r = 0; r < parts.size(); ++r) {
    if (parts[r] == 1) continue;
    first_slot[r] = static_cast<std::int32_t>(plan.slots);
    plan.slots += parts[r];
  }
  plan.segments.resize(shares.size());
  for (std::size_t c = 0; c < shares.size(); ++c) {
    std::size_t at = c;
    for (std::size_t i = 0; i < shares[c].size(); ++i) {
      DecodeSegment s = shares[c][i];
      s.parts = parts[static_cast<std::size_t>(s.row)];
      s.first_slot = first_slot[static_cast<std::size_t>(s.row)];
      s.slot = s.parts == 1 ? -1 : s.first_slot + s.slot;
      s.next = -1;
      if (i > 0) {
        plan.segments[at].next = static_cast<std::int32_t>(plan.segments.size());
        at = plan.segments.size();
        plan.segments.push_back(s);
      } else {
        plan.segments[at] = s;
      }
    }
  }
  return plan;
}

}  // namespace spate::cuda
