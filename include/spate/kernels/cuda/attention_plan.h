// Work lists of the attention kernels, made on the host once per step and shared by all layers.
// Plain C++ without CUDA: pure functions from lengths to lists. The caller copies the lists to the
// device and owns that memory.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace spate::cuda {

// One request's share of a batch. Counts are tokens.
struct AttentionRequest {
  std::int32_t q_begin = 0;  // its first row of the packed queries
  std::int32_t q_len = 1;
  std::int32_t kv_begin = 0;  // strided KV: its first row of the packed keys; pages: the index of
                              // its first entry in the page table
  std::int32_t kv_len = 0;    // keys in all, those of the queries included
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

struct PrefillPlanner {
  struct Pair {
    std::int32_t request, kv_head;
  };
  std::span<const AttentionRequest> requests;
  const PrefillPlanOptions& o;
  PrefillPlan plan;
  std::int32_t tile_tokens = 1;
  std::vector<Pair> members;  // of the current group

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
  // Appends the tiles of the current group, those with the most keys first.
  void flush() {
    std::int32_t most = 0;
    for (const Pair& p : members) {
      const std::int64_t tiles = ceil_div(request(p.request).q_len, tile_tokens);
      most = std::max(most, static_cast<std::int32_t>(tiles));
    }
    const auto first = static_cast<std::ptrdiff_t>(plan.tiles.size());
    for (std::int32_t m = most - 1; m >= 0; --m) {
      for (const Pair& p : members) append_tiles(request(p.request), p.kv_head, m);
    }
    auto longer = [&](const PrefillTile& a, const PrefillTile& b) {
      return tile_keys(a, plan.pack_shift, o.window) > tile_keys(b, plan.pack_shift, o.window);
    };
    const auto begin = plan.tiles.begin() + first;
    if (!std::is_sorted(begin, plan.tiles.end(), longer)) {
      std::stable_sort(begin, plan.tiles.end(), longer);
    }
    members.clear();
  }
};

}  // namespace plan_detail

// Groups of (request, kv head) pairs whose K and V fit the cache run one after the other; inside a
// group the tiles with the most keys come first (longest processing time first).
inline PrefillPlan plan_prefill(std::span<const AttentionRequest> requests,
                                const PrefillPlanOptions& o) {
  plan_detail::PrefillPlanner planner{requests, o, {}, 1, {}};
  planner.plan.pack_shift = plan_detail::prefill_pack_shift(requests, o);
  planner.tile_tokens = o.tile_rows >> planner.plan.pack_shift;
  std::vector<std::int32_t> order(requests.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return planner.request(a).kv_len > planner.request(b).kv_len;
  });
  std::int64_t bytes = 0;
  for (const std::int32_t i : order) {
    const std::int64_t size = planner.request(i).kv_len * o.kv_token_bytes;
    for (std::int32_t h = 0; h < o.kv_heads; ++h) {
      if (!planner.members.empty() && bytes + size > o.cache_bytes) {
        planner.flush();
        bytes = 0;
      }
      planner.members.push_back({i, h});
      bytes += size;
    }
  }
  planner.flush();
  return std::move(planner.plan);
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
  // 0: shares of equal size cut rows anywhere, the fastest. Otherwise rows are cut at multiples of
  // this many tokens alone (of a 32nd of the row if that is more): a row's bits depend on its own
  // length.
  int split_tokens = 0;
};

namespace plan_detail {

// Appends one row, whole or cut at multiples of the split.
inline void append_row(DecodeSegment row, const DecodePlanOptions& o,
                       std::vector<DecodeSegment>& pieces) {
  const auto split = static_cast<std::int32_t>(
      o.split_tokens == 0 ? 0
                          : ceil_div(std::max(o.split_tokens, row.kv_len / 32), o.block_tokens));
  const std::int32_t end = row.block_end;
  while (row.block < end) {
    row.block_end = split == 0 ? end : std::min(end, (row.block / split + 1) * split);
    pieces.push_back(row);
    row.block = row.block_end;
  }
}

// Segments without slots, in row order.
inline std::vector<DecodeSegment> decode_pieces(std::span<const AttentionRequest> requests,
                                                const DecodePlanOptions& o) {
  std::vector<DecodeSegment> pieces;
  const int tokens_at_once = std::max(1, o.columns / (o.q_heads / o.kv_heads));
  DecodeSegment row{};
  row.parts = 1;
  row.next = row.first_page = -1;
  for (const AttentionRequest& r : requests) {
    for (std::int32_t q = 0; q < r.q_len; q += tokens_at_once) {
      row.q_token = r.q_begin + q;
      row.q_len = std::min(tokens_at_once, r.q_len - q);
      row.kv_len = std::max(0, r.kv_len - (r.q_len - q - row.q_len));
      row.table = r.kv_begin;
      const bool whole = o.window_left < 0;
      const std::int32_t seen = whole ? 0 : std::max(0, row.kv_len - row.q_len - o.window_left);
      row.block = std::min(seen, std::max(0, row.kv_len - 1)) / o.block_tokens;
      row.block_end =
          std::max(row.block + 1, static_cast<std::int32_t>(ceil_div(row.kv_len, o.block_tokens)));
      for (row.kv_head = 0; row.kv_head < o.kv_heads; ++row.kv_head, ++row.row) {
        append_row(row, o, pieces);
      }
    }
  }
  return pieces;
}

inline std::int64_t blocks_of(const DecodeSegment& s) { return s.block_end - s.block; }

// Bins of size `load` that consecutive pieces fill.
inline std::int64_t bins(std::span<const DecodeSegment> pieces, std::int64_t load) {
  std::int64_t n = 1, used = 0;
  for (const DecodeSegment& s : pieces) {
    if (used + blocks_of(s) > load) {
      ++n;
      used = 0;
    }
    used += blocks_of(s);
  }
  return n;
}

// The smallest load so that consecutive pieces fit `grid` bins of it.
inline std::int64_t smallest_load(std::span<const DecodeSegment> pieces, int grid) {
  std::int64_t total = 0, largest = 0;
  for (const DecodeSegment& s : pieces) {
    total += blocks_of(s);
    largest = std::max(largest, blocks_of(s));
  }
  std::int64_t low = std::max(largest, ceil_div(total, grid)), high = std::max(low, total);
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (bins(pieces, middle) <= grid) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// The pieces of one thread block each, in order. `slot` counts the parts of a row.
using Shares = std::vector<std::vector<DecodeSegment>>;

inline Shares deal(std::span<const DecodeSegment> pieces, const DecodePlanOptions& o,
                   std::vector<std::int32_t>& parts) {
  std::int64_t total = 0;
  for (const DecodeSegment& s : pieces) total += blocks_of(s);
  const bool cut = o.split_tokens == 0;
  const auto units = cut ? total : static_cast<std::int64_t>(pieces.size());
  const auto grid = static_cast<int>(std::min<std::int64_t>(units, o.multiprocessors));
  // Small shares take whole multiples of the largest one: as fast as equal ones, and rows whose
  // length is such a multiple are cut into fewer parts.
  const std::int64_t share_size = ceil_div(total, grid);
  const bool equal = cut && share_size > 8;
  const std::int64_t load = cut ? share_size : smallest_load(pieces, grid);
  Shares shares(1);
  std::int64_t used = 0;
  for (DecodeSegment s : pieces) {
    while (s.block < s.block_end) {
      const auto i = static_cast<std::int64_t>(shares.size()) - 1;
      const std::int64_t size = equal ? total * (i + 1) / grid - total * i / grid : load;
      if (used == size || (!cut && used + blocks_of(s) > size)) {
        shares.emplace_back();
        used = 0;
        continue;
      }
      DecodeSegment part = s;
      part.block_end = static_cast<std::int32_t>(s.block + std::min(size - used, blocks_of(s)));
      part.slot = parts[static_cast<std::size_t>(s.row)]++;
      shares.back().push_back(part);
      used += blocks_of(part);
      s.block = part.block_end;
    }
  }
  return shares;
}

}  // namespace plan_detail

// Deals the pieces out in order. With split_tokens == 0 every thread block gets the same number of
// KV blocks (stream-K) and rows are cut wherever a share ends.
inline DecodePlan plan_decode(std::span<const AttentionRequest> requests,
                              const DecodePlanOptions& o) {
  DecodePlan plan;
  const std::vector<DecodeSegment> pieces = plan_detail::decode_pieces(requests, o);
  if (pieces.empty()) return plan;
  plan.rows = pieces.back().row + 1;
  std::vector<std::int32_t> parts(static_cast<std::size_t>(plan.rows), 0), first_slot = parts;
  const plan_detail::Shares shares = plan_detail::deal(pieces, o, parts);
  plan.grid = static_cast<int>(shares.size());
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
      if (i > 0) {
        plan.segments[at].next = static_cast<std::int32_t>(plan.segments.size());
        at = plan.segments.size();
        plan.segments.emplace_back();
      }
      plan.segments[at] = s;
    }
  }
  return plan;
}

}  // namespace spate::cuda
