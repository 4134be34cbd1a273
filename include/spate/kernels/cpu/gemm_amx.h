// bf16 rows times one panel with Intel's matrix registers (AMX): a panel's step is already what a
// tile load wants, pairs of k as rows and columns side by side. The instruction adds pairs in an
// order of its own, so where it is used it is used for every number of rows. q8 and q4 are in
// gemm_amx_int8.h.
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

/// Up to 32 rows, in one tile or two.
static inline void configure_bf16(std::int64_t n_rows) {
  const std::int64_t first = n_rows < 16 ? n_rows : 16;
  const std::int64_t second = n_rows > 16 ? n_rows - 16 : first;
  TileConfig config;
  for (int i = 0; i < 8; ++i) configure(config, i, 16, 64);
  for (int i = 0; i < 2; ++i) {
    configure(config, i, first, 64);
    configure(config, 2 + i, second, 64);
  }
  configure(config, 4, first, 64);
  configure(config, 5, second, 64);
  memory_is_read();
  _tile_loadconfig(&config);
}

/// kSecond: more than 16 rows.
template <bool kSecond>
static inline void bf16_tile_amx(const TileArgs& a) {
  load_sums(a, kSecond);
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
    if constexpr (kSecond) {
      _tile_loadd(5, x + 16 * a.row_stride, a.row_stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  store_sums(a, kSecond);
}

/// Whole tiles of 32 rows, or fewer rows than that.
static inline void multiply_rows_bf16_amx(const MultiplyArgs& a) {
  constexpr PanelFormat kFormat = PanelFormat::kBF16;
  constexpr std::int64_t kLines = step_bytes(kFormat) / kLine;
  constexpr std::int64_t kRows = 32;
  const std::int64_t n_steps = steps_of(a.k);
  const std::int64_t n_tiles = (a.n_rows + kRows - 1) / kRows;
  const std::int64_t lines = (kLines + n_tiles - 1) / n_tiles;
  const std::int64_t slice_steps = n_tiles == 1 ? n_steps : kSliceSteps<kFormat>;
  const auto tile = a.n_rows > 16 ? bf16_tile_amx<true> : bf16_tile_amx<false>;
  configure_bf16(n_tiles == 1 ? a.n_rows : kRows);
  for (std::int64_t s = 0; s < n_steps; s += slice_steps) {
    const std::int64_t n = n_steps - s < slice_steps ? n_steps - s : slice_steps;
    const std::uint8_t* slice = a.panel + s * step_bytes(kFormat);
    for (std::int64_t t = 0; t < n_tiles; ++t) {
      const std::int64_t row = t * kRows;
      tile({.weights = slice,
            .rows = a.rows + row * a.row_stride + s * row_step_bytes(RowKind::kBF16),
            .scales = nullptr,
            .starts_8 = nullptr,
            .starts_128 = nullptr,
            .row_stride = a.row_stride,
            .n_steps = n,
            .sums = a.sums + row * a.sum_stride,
            .sum_stride = a.sum_stride,
            .first = s == 0,
            .last = s + n == n_steps,
            .ahead = n_tiles == 1 ? slice + 8 * step_bytes(kFormat)
                                  : slice + n * step_bytes(kFormat) + t * n * lines * kLine,
            .ahead_lines = t * lines < kLines ? lines : 0});
    }
  }
  _tile_release();
}

/// Rows that fill no tile of 32 have a configuration of their own, and a pass.
static inline void multiply_panel_bf16_amx(const MultiplyArgs& a) {
  const std::int64_t whole = a.n_rows / 32 * 32;
  MultiplyArgs part = a;
  part.n_rows = whole;
  if (whole > 0) multiply_rows_bf16_amx(part);
  part.n_rows = a.n_rows - whole;
  part.rows = a.rows + whole * a.row_stride;
  part.sums = a.sums + whole * a.sum_stride;
  if (part.n_rows > 0) multiply_rows_bf16_amx(part);
}

}  // namespace spate::kernels::cpu::SPATE_CPU_ISA
