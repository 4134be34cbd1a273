// Attention's products on a bf16 cache with Intel's matrix registers (AMX): panels of keys and
// values are what a tile load wants, as weights are in gemm_amx.h. Everything else is
// attention.h's. The instruction adds in an order of its own, so where it is used it is used for
// every number of rows.
#pragma once

#include "spate/kernels/cpu/attention.h"
#include "spate/kernels/cpu/gemm_amx.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

struct Bf16Tiles {
  static constexpr KvFormat kFormat = KvFormat::kBF16;
  static constexpr bool kScoresEarly = true;
};
using AttentionInTiles = Attention<Bf16Tiles>;

inline constexpr std::int64_t kTileBytes = 64;  // of a row: 32 elements, or 16 sums

SPATE_KERNEL void begin_products(const AttentionInTiles& a) { a.tile_rows = 0; }
SPATE_KERNEL void end_products(const AttentionInTiles& /*a*/) { _tile_release(); }

/// Tiles 0 to 3: sums. 4 and 6: rows and panel, whole steps of 32 elements; 5 and 7: what is left
/// of the head's dimensions.
static inline void use_rows(const AttentionInTiles& a, std::int64_t rows) {
  if (a.tile_rows == rows) return;
  a.tile_rows = rows;
  const std::int64_t left = a.task.layout.head_dim % kStep / 2;
  TileConfig config;
  for (int i = 0; i < 5; ++i) configure(config, i, rows, kTileBytes);
  configure(config, 5, rows, left > 0 ? static_cast<int>(left * 4) : 64);
  configure(config, 6, 16, kTileBytes);
  configure(config, 7, left > 0 ? left : 16, kTileBytes);
  memory_is_read();
  _tile_loadconfig(&config);
}

/// f(first row, rows) for at most 16 rows at a time.
template <class F>
SPATE_KERNEL void each_row_tile(std::int64_t begin, std::int64_t end, F f) {
  for (std::int64_t r = begin; r < end; r += 16) f(r, end - r < 16 ? end - r : 16);
}

/// Tile kSum += the rows in tile 4 times a tile of a panel, whose lines are 128 bytes apart.
template <int kSum>
SPATE_KERNEL void add_product(const std::byte* panel) {
  _tile_loadd(6, panel, 128);
  if constexpr (kSum == 0) _tile_dpbf16ps(0, 4, 6);
  if constexpr (kSum == 1) _tile_dpbf16ps(1, 4, 6);
  if constexpr (kSum == 2) _tile_dpbf16ps(2, 4, 6);
  if constexpr (kSum == 3) _tile_dpbf16ps(3, 4, 6);
}
/// The same with tiles 5 and 7.
template <int kSum>
SPATE_KERNEL void add_rest(const std::byte* panel) {
  _tile_loadd(7, panel, 128);
  if constexpr (kSum == 0) _tile_dpbf16ps(0, 5, 7);
  if constexpr (kSum == 1) _tile_dpbf16ps(1, 5, 7);
  if constexpr (kSum == 2) _tile_dpbf16ps(2, 5, 7);
  if constexpr (kSum == 3) _tile_dpbf16ps(3, 5, 7);
}

/// Queries of `rows` rows from r on, times the tile's 64 keys.
static inline void score_rows(const AttentionInTiles& a, const KeyTile& k, std::int64_t r) {
  const KvLayout& kv = a.task.layout;
  const std::byte* queries = a.s.queries + r * a.query_bytes;
  const std::byte* left = k.block;
  const std::byte* right = k.block + kv.key_panel_bytes();
  const std::int64_t ahead = r == k.begin && k.next != nullptr ? k.next - k.block : 0;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const std::int64_t whole = kv.head_dim / kStep;
  for (std::int64_t s = 0; s < whole; ++s) {
    _tile_loadd(4, queries + s * kTileBytes, a.query_bytes);
    add_product<0>(left + s * 2048);
    add_product<1>(left + s * 2048 + 64);
    add_product<2>(right + s * 2048);
    add_product<3>(right + s * 2048 + 64);
    for (std::int64_t i = 0; ahead != 0 && i < 2048; i += kLine) {
      prefetch(left + ahead + s * 2048 + i);
      prefetch(right + ahead + s * 2048 + i);
    }
  }
  if (kv.head_dim % kStep != 0) {
    _tile_loadd(5, queries + whole * kTileBytes, a.query_bytes);
    add_rest<0>(left + whole * 2048);
    add_rest<1>(left + whole * 2048 + 64);
    add_rest<2>(right + whole * 2048);
    add_rest<3>(right + whole * 2048 + 64);
  }
  float* scores = k.scores + r * kKvTokens;
  _tile_stored(0, scores, kKvTokens * 4);
  _tile_stored(1, scores + 16, kKvTokens * 4);
  _tile_stored(2, scores + 32, kKvTokens * 4);
  _tile_stored(3, scores + 48, kKvTokens * 4);
}

static void score_tile(const AttentionInTiles& a, const KeyTile& k) {
  each_row_tile(k.begin, k.end, [&](std::int64_t r, std::int64_t n) {
    use_rows(a, n);
    score_rows(a, k, r);
  });
}

/// What a row tile of probabilities is multiplied with.
struct ValueTiles {
  const std::byte* weights;  // of the first row
  const std::byte* panel;    // 32 dimensions
  const std::byte* second;   // the next 32
  std::int64_t steps;        // of 32 tokens
  float* sums;
  std::int64_t sum_bytes;  // from row to row
};

/// Adds 64 or, without kBoth, 32 dimensions of the weighted values to the sums.
template <bool kBoth>
SPATE_KERNEL void add_value_tiles(const ValueTiles& t) {
  _tile_loadd(0, t.sums, t.sum_bytes);
  _tile_loadd(1, t.sums + 16, t.sum_bytes);
  if (kBoth) _tile_loadd(2, t.sums + 32, t.sum_bytes);
  if (kBoth) _tile_loadd(3, t.sums + 48, t.sum_bytes);
  for (std::int64_t s = 0; s < t.steps; ++s) {
    _tile_loadd(4, t.weights + s * kTileBytes, kKvTokens * 2);
    add_product<0>(t.panel + s * 2048);
    add_product<1>(t.panel + s * 2048 + 64);
    if (kBoth) add_product<2>(t.second + s * 2048);
    if (kBoth) add_product<3>(t.second + s * 2048 + 64);
  }
  _tile_stored(0, t.sums, t.sum_bytes);
  _tile_stored(1, t.sums + 16, t.sum_bytes);
  if (kBoth) _tile_stored(2, t.sums + 32, t.sum_bytes);
  if (kBoth) _tile_stored(3, t.sums + 48, t.sum_bytes);
}

/// All dimensions of one row tile.
static inline void add_value_rows(const AttentionInTiles& a, const std::byte* values,
                                  std::int64_t steps, std::int64_t r, float* sums) {
  const std::int64_t panel_bytes = a.task.layout.value_panel_bytes();
  for (std::int64_t d = 0; d < a.padded; d += 2 * kKvHalf) {
    const std::byte* panel = values + d / kKvHalf * panel_bytes;
    const ValueTiles tiles{.weights = a.s.weights + r * kKvTokens * 2,
                           .panel = panel,
                           .second = panel + panel_bytes,
                           .steps = steps,
                           .sums = sums + d,
                           .sum_bytes = a.padded * 4};
    if (a.padded - d > kKvHalf) {
      add_value_tiles<true>(tiles);
    } else {
      add_value_tiles<false>(tiles);
    }
  }
}

static void add_values(const AttentionInTiles& a, const AttentionState& state, const KeyTile& k) {
  const KvLayout& kv = a.task.layout;
  const std::int64_t keys = a.s.last[k.end - 1] + 1 - k.first_key;
  const std::byte* values = k.values;
  if (keys < kKvTokens && values != a.s.values) {  // what lies beyond may be NaN
    copy_values(kv, k.block, 0, keys, a.s.values);
    values = a.s.values;
  }
  memory_is_read();
  const std::int64_t steps = keys > kStep ? 2 : 1;
  each_row_tile(k.begin, k.end, [&](std::int64_t r, std::int64_t n) {
    use_rows(a, n);
    add_value_rows(a, values, steps, r, state.values + r * a.padded);
  });
  if (k.next == nullptr) return;
  const std::int64_t n_bytes = a.padded / kKvHalf * kv.value_panel_bytes();
  for (std::int64_t i = 0; i < n_bytes; i += kLine) prefetch(k.next + kv.value_offset() + i);
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
