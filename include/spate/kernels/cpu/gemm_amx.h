// Rows times one panel with Intel's matrix registers (AMX). A panel's step is already what a tile
// load wants: quads (or pairs) of k as rows, columns side by side.
//
// q8 and q4 give the bits of gemm.h: integer sums are exact, and the float operations per group are
// the same. bf16 does not (the instruction adds pairs in an order of its own), so where it is used
// it is used for every number of rows. Only for units compiled with AVX-512 and AMX.
#pragma once

#include "spate/kernels/cpu/gemm.h"

namespace spate::kernels::cpu::SPATE_CPU_ISA {

/// The operand of ldtilecfg.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

SPATE_KERNEL void configure(TileConfig& config, int tile, std::int64_t rows, int row_bytes) {
  config.rows[tile] = static_cast<std::uint8_t>(rows);
  config.row_bytes[tile] = static_cast<std::uint16_t>(row_bytes);
}
/// The compiler does not know which memory tile instructions read.
SPATE_KERNEL void memory_is_read() { asm volatile("" ::: "memory"); }

// int8: one product per group of 32, so tiles are half full.

/// Bytes of a slice of a panel: quads 128 bytes apart, and the scales.
struct ByteWeights {
  const std::uint8_t* quads;
  std::int64_t quad_stride;  // per step
  const std::uint8_t* scales;
  std::int64_t scale_stride;
};

/// f[r] += (sums[r] - offset) * the group's two scales, as step_int8 does.
template <PanelFormat F, int R>
SPATE_KERNEL void add_group(const std::int32_t* sums, const std::uint8_t* x, std::int64_t stride,
                            const std::uint8_t* scales, int half, F32x16 (&f)[R]) {
  const bool wide = F == PanelFormat::kQ8 || half == 1;
  const std::uint8_t* start =
      x + (wide ? offsetof(RowGroup, start_128) : offsetof(RowGroup, start_8));
  const F32x16 scale = load_f16(scales + half * 32);
  const F32x16 offset = mul(scale, set1_f32(-kMagicValue));
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) {
    const I32x16 sum = add(load_i32(sums + r * 16), broadcast4(start + r * stride));
    f[r] = fma(fma(as_f32(sum), scale, offset), as_f32(broadcast4(x + r * stride)), f[r]);
  }
}

/// R rows by 16 columns. The products of one group are scaled while the next ones are computed.
template <PanelFormat F, int R>
static inline void int8_tile_amx(const TileArgs& a, const ByteWeights& w, int half) {
  alignas(64) std::int32_t products[2][R * 16];
  F32x16 f[R];
  float* sums = a.sums + half * 16;
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) f[r] = a.first ? set1_f32(0.0F) : load_f32(sums + r * a.sum_stride);
  const std::uint8_t* ahead = a.ahead;
  for (std::int64_t s = 0; s <= a.n_steps; ++s) {
    const std::uint8_t* x = row_step<F>(a, s, 0);
    if (s < a.n_steps) {
      for (std::int64_t i = 0; half == 0 && i < a.ahead_lines; ++i, ahead += kLine) prefetch(ahead);
      _tile_zero(0);
      _tile_loadd(1, x + offsetof(RowGroup, q), a.row_stride);
      _tile_loadd(2, w.quads + s * w.quad_stride + half * 64, 128);
      _tile_dpbsud(0, 1, 2);
      _tile_stored(0, products[s % 2], 64);
    }
    if (s > 0) {
      add_group<F, R>(products[(s - 1) % 2], x - sizeof(RowGroup), a.row_stride,
                      w.scales + (s - 1) * w.scale_stride, half, f);
    }
  }
  const bool shrink = F == PanelFormat::kQ4 && half == 1 && a.last;
  SPATE_UNROLL
  for (int r = 0; r < R; ++r) {
    store_f32(sums + r * a.sum_stride, shrink ? mul(f[r], set1_f32(0.0625F)) : f[r]);
  }
}

template <PanelFormat F, int R>
static inline void int8_rows_amx(const TileArgs& a, const ByteWeights& w) {
  TileConfig config;
  configure(config, 0, R, 64);
  configure(config, 1, R, kStep);
  configure(config, 2, kStep / 4, 64);
  memory_is_read();
  _tile_loadconfig(&config);
  for (int half = 0; half < 2; ++half) int8_tile_amx<F, R>(a, w, half);
  _tile_release();
}

/// Nibbles as bytes, at their own or 16 times their value, in the order of q8.
static inline ByteWeights unpacked_nibbles(const std::uint8_t* slice, std::int64_t n_steps,
                                           std::uint8_t* scratch) {
  constexpr std::int64_t kBytes = kStep * kColumns;
  for (std::int64_t s = 0; s < n_steps; ++s) {
    const std::uint8_t* from = slice + s * step_bytes(PanelFormat::kQ4);
    SPATE_UNROLL
    for (int quad = 0; quad < kStep / 4; ++quad) {
      const I32x16 both = load_i32(from + quad * 64);
      store_i32(scratch + s * kBytes + quad * 128, low_nibbles(both));
      store_i32(scratch + s * kBytes + quad * 128 + 64, high_nibbles(both));
    }
  }
  memory_is_read();
  constexpr std::int64_t kStride = step_bytes(PanelFormat::kQ4);
  return {scratch, kBytes, slice + kStride - 64, kStride};
}

/// Rows in tiles of 16 and 8; what is left goes to the vectors, with the same bits.
template <PanelFormat F>
static inline void multiply_panel_int8_amx(const MultiplyArgs& a) {
  if (a.n_rows < 8) return multiply_panel<F>(a);
  constexpr std::int64_t kLines = step_bytes(F) / kLine;
  alignas(64) std::uint8_t scratch[F == PanelFormat::kQ4 ? kSliceSteps<F> * kStep * kColumns : 64];
  const std::int64_t n_steps = steps_of(a.k);
  const std::int64_t n_tiles = a.n_rows / 16 + a.n_rows % 16 / 8;
  const std::int64_t lines = (kLines + n_tiles - 1) / n_tiles;
  for (std::int64_t s = 0; s < n_steps; s += kSliceSteps<F>) {
    const std::int64_t left = n_steps - s;
    const std::int64_t n = left < kSliceSteps<F> ? left : kSliceSteps<F>;
    const std::uint8_t* slice = a.panel + s * step_bytes(F);
    const ByteWeights w = F == PanelFormat::kQ4
                              ? unpacked_nibbles(slice, n, scratch)
                              : ByteWeights{slice, step_bytes(F), slice + 1024, step_bytes(F)};
    std::int64_t prefetched = 0;
    for (std::int64_t row = 0; row < a.n_rows;) {
      const std::int64_t rows_left = a.n_rows - row;
      const bool by_vectors = rows_left < 8;
      const TileArgs tile{.weights = slice,
                          .rows = a.rows + row * a.row_stride + s * sizeof(RowGroup),
                          .row_stride = a.row_stride,
                          .n_steps = n,
                          .sums = a.sums + row * a.sum_stride,
                          .sum_stride = a.sum_stride,
                          .first = s == 0,
                          .last = s + n == n_steps,
                          .ahead = slice + n * step_bytes(F) + prefetched * n * kLine,
                          .ahead_lines = by_vectors || prefetched >= kLines ? 0 : lines};
      prefetched += tile.ahead_lines;
      if (rows_left >= 16) {
        int8_rows_amx<F, 16>(tile, w);
        row += 16;
      } else if (!by_vectors) {
        int8_rows_amx<F, 8>(tile, w);
        row += 8;
      } else {
        const std::int64_t rows = rows_left > kTileRowsInt8 ? rows_left / 2 : rows_left;
        tile_of_rows<F>(rows, tile);
        row += rows;
      }
    }
  }
}

// bf16: 32 rows by 32 columns, or fewer rows.

/// Zeroes or loads the four accumulators, 2 x 2 tiles.
SPATE_KERNEL void load_sums(const TileArgs& a, bool second) {
  if (a.first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    return;
  }
  const std::int64_t stride = a.sum_stride * 4;
  _tile_loadd(0, a.sums, stride);
  _tile_loadd(1, a.sums + 16, stride);
  if (second) {
    _tile_loadd(2, a.sums + 16 * a.sum_stride, stride);
    _tile_loadd(3, a.sums + 16 * a.sum_stride + 16, stride);
  }
}

SPATE_KERNEL void store_sums(const TileArgs& a, bool second) {
  const std::int64_t stride = a.sum_stride * 4;
  _tile_stored(0, a.sums, stride);
  _tile_stored(1, a.sums + 16, stride);
  if (second) {
    _tile_stored(2, a.sums + 16 * a.sum_stride, stride);
    _tile_stored(3, a.sums + 16 * a.sum_stride + 16, stride);
  }
}

/// Up to 32 rows: `n_rows` of them in one or two tiles.
static inline void bf16_tile_amx(const TileArgs& a, std::int64_t n_rows) {
  const bool second = n_rows > 16;
  TileConfig config;
  for (int i = 0; i < 4; ++i)
    configure(config, i, i >= 2 && second ? n_rows - 16 : second ? 16 : n_rows, 64);
  configure(config, 4, second ? 16 : n_rows, 64);
  configure(config, 5, second ? n_rows - 16 : n_rows, 64);
  configure(config, 6, 16, 64);
  configure(config, 7, 16, 64);
  memory_is_read();
  _tile_loadconfig(&config);
  load_sums(a, second);
  const std::uint8_t* ahead = a.ahead;
  for (std::int64_t s = 0; s < a.n_steps; ++s) {
    for (std::int64_t i = 0; i < a.ahead_lines; ++i, ahead += kLine) prefetch(ahead);
    const std::uint8_t* w = a.weights + s * step_bytes(PanelFormat::kBF16);
    const std::uint8_t* x = a.rows + s * row_step_bytes(RowKind::kBF16);
    _tile_loadd(6, w, 128);
    _tile_loadd(4, x, a.row_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, w + 64, 128);
    _tile_dpbf16ps(1, 4, 7);
    if (second) {
      _tile_loadd(5, x + 16 * a.row_stride, a.row_stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  store_sums(a, second);
  _tile_release();
}

static inline void multiply_panel_bf16_amx(const MultiplyArgs& a) {
  constexpr PanelFormat kFormat = PanelFormat::kBF16;
  constexpr std::int64_t kLines = step_bytes(kFormat) / kLine;
  constexpr std::int64_t kRows = 32;
  const std::int64_t n_steps = steps_of(a.k);
  const std::int64_t n_tiles = (a.n_rows + kRows - 1) / kRows;
  const std::int64_t lines = (kLines + n_tiles - 1) / n_tiles;
  const std::int64_t slice_steps = n_tiles == 1 ? n_steps : kSliceSteps<kFormat>;
  for (std::int64_t s = 0; s < n_steps; s += slice_steps) {
    const std::int64_t n = n_steps - s < slice_steps ? n_steps - s : slice_steps;
    const std::uint8_t* slice = a.panel + s * step_bytes(kFormat);
    for (std::int64_t t = 0; t < n_tiles; ++t) {
      const std::int64_t row = t * kRows;
      const std::int64_t rows = a.n_rows - row < kRows ? a.n_rows - row : kRows;
      bf16_tile_amx(
          {.weights = slice,
           .rows = a.rows + row * a.row_stride + s * row_step_bytes(RowKind::kBF16),
           .row_stride = a.row_stride,
           .n_steps = n,
           .sums = a.sums + row * a.sum_stride,
           .sum_stride = a.sum_stride,
           .first = s == 0,
           .last = s + n == n_steps,
           .ahead = n_tiles == 1 ? slice + 8 * step_bytes(kFormat)
                                 : slice + n * step_bytes(kFormat) + t * n * lines * kLine,
           .ahead_lines = t * lines < kLines ? lines : 0},
          rows);
    }
  }
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
